"""Recurrent networks through ``torch.compile(backend="kernelwright")``: inference and training agree with eager."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from kernelwright.backend import _find, _serve
from kernelwright.backend import kernelwright as backend
from kernelwright.backend._propose import Proposer
from kernelwright.judge import Verdict
from kernelwright.search import EAGER, Outcome


class Unrolled(nn.Module):
    """A cell over time, and a head that reads every state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.shape[1], 6)
        states = []
        for t in range(x.shape[0]):
            h = self.cell(x[t], h)
            states.append(h)
        return self.head(torch.stack(states))


class Layer(nn.Module):
    """A recurrent layer and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(4, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0])


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serve every graph's first candidate, so that generated kernels run wherever there are any."""
    targets: list[str] = []

    def first(core: Any, inputs: Any, name: str, **how: Any) -> Outcome:
        candidate = next(iter(Proposer(core, inputs, name).propose(1)), EAGER)
        targets.append(candidate.target)
        task = _find.task_of(core, inputs, name, how["backward"])
        return Outcome(task, "won", candidate, Verdict("accepted"), None, (), 0.0, "", False, None)

    monkeypatch.setattr(_serve, "find", first)
    torch._dynamo.reset()
    yield targets
    torch._dynamo.reset()


@pytest.mark.parametrize("kind", [Unrolled, Layer])
def test_inference_and_training(kind: type[nn.Module], candidates: list[str]) -> None:
    torch.manual_seed(0)
    eager = kind()
    ours, x = copy.deepcopy(eager), torch.randn(7, 3, 4)
    compiled = torch.compile(ours, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), eager(x), atol=1e-5, rtol=1e-5)
    compiled(x).square().mean().backward()
    eager(x).square().mean().backward()
    assert "cpu" in candidates or kind is Layer  # torch's capture leaves its recurrent layers to eager
    for mine, theirs in zip(ours.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)
