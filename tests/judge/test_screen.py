"""A task that accepts candidates which do no work is not scored; one that a single law of inputs betrays is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kernelwright.judge import Session
from kernelwright.judge._oracle import Oracle
from kernelwright.task import from_callable

from .kernels import EAGER


def screened(call: Callable[..., Any], *inputs: torch.Tensor) -> dict[str, Any]:
    oracle = Oracle(1 << 30)
    oracle.open(from_callable(call, inputs, name="screened"), 3)
    return oracle.screen(17)


def nothing_of(x: torch.Tensor) -> torch.Tensor:
    """The mean of one element is itself."""
    y = x.amax(1, keepdim=True)
    return torch.nn.functional.gelu(y - y.mean(1, keepdim=True))


def flat_scores(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x * 0, -1)


class Collapsing(torch.nn.Module):
    """Default weights halve the signal in every layer, until the last bias is all that is left."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(48, 48) for _ in range(24))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x + 1


class Ignored(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.randn(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(x.shape).clone()


@pytest.mark.parametrize(
    ("call", "passed"), [(nothing_of, "zero"), (flat_scores, "a constant"), (Ignored(), "mean along axis 0")]
)
def test_a_result_that_no_input_reaches_cannot_be_scored(call: Callable[..., Any], passed: str) -> None:
    found = screened(call, torch.rand(32, 16))
    assert passed in found["unscored"]


def test_another_law_tells_where_the_tasks_own_does_not() -> None:
    found = screened(torch.relu, torch.rand(64, 33))  # never negative: the identity passes
    assert found["unscored"] == ""
    assert found["telling"] == [["normal", False]]


def test_other_parameters_wake_a_collapsed_net() -> None:
    found = screened(Collapsing(), torch.rand(64, 48))
    assert found["unscored"] == ""
    assert ["given", False] not in found["telling"]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: 2 * x + 1,  # an affine map, and rightly so
        torch.clone,
        lambda x: x.sum(-1),
        lambda x: torch.softmax(x, -1),
        lambda x: x.argmax(-1),
        lambda x: (x > 0.5, x.exp()),
        lambda x: x.t().contiguous(),
    ],
)
def test_honest_tasks_are_scored(call: Callable[..., Any]) -> None:
    found = screened(call, torch.rand(40, 24))
    assert found["unscored"] == ""


def test_a_session_says_so_and_judges_all_the_same() -> None:
    with Session(from_callable(flat_scores, (torch.randn(8, 16),), name="flat")) as session:
        assert session.unscored.startswith("flat is not scored: ")
        assert session.verify(EAGER).accepted
