"""Plans with ATen calls run as straight-line Python, and give what the general path gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernelwright.compiler import emit, prepare
from kernelwright.errors import OutsideDomain
from kernelwright.targets.cpu import Launcher, build
from kernelwright.targets.plan import AtenCall


def reference(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Generated code, two ATen calls that nothing replaces, generated code; one ATen call reads an argument itself."""
    values, order = torch.sort(torch.exp(x) * 2, dim=-1, descending=True)
    return values * w, order + 1, torch.linalg.matrix_exp(w)


def draw() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, 8), torch.randn(8, 8)


@pytest.fixture(scope="module")
def launcher() -> Launcher:
    candidate = emit(prepare(reference, draw()))
    assert candidate.plan is not None
    assert sum(isinstance(step, AtenCall) for step in candidate.plan.steps) == 2
    return Launcher(candidate.plan, build(candidate.source).library, {})


@pytest.fixture
def general(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that take the general path."""
    calls: list[Any] = []
    run = launcher._general
    monkeypatch.setitem(launcher.call.__globals__, "general", lambda *args: (calls.append(args), run(*args))[1])
    return calls


def test_it_computes_the_reference_again_and_again(launcher: Launcher, general: list[Any]) -> None:
    with torch.no_grad():
        for _ in range(3):
            x, w = draw()
            got = launcher.call(x, w)
            assert isinstance(got, tuple)
            torch.testing.assert_close(got, reference(x, w))
    assert general == []


def test_parameters_are_tensors_too(launcher: Launcher, general: list[Any]) -> None:
    x, w = draw()
    with torch.no_grad():
        torch.testing.assert_close(launcher.call(x, torch.nn.Parameter(w)), reference(x, w))
    assert general == []


@pytest.mark.parametrize("which", [0, 1])
def test_another_layout_takes_the_general_path(launcher: Launcher, general: list[Any], which: int) -> None:
    args = list(draw())
    args[which] = args[which].t()
    with torch.no_grad():
        torch.testing.assert_close(launcher.call(*args), reference(*args))
    assert len(general) == 1


@pytest.mark.parametrize("other", [torch.randn(8, 9), torch.randn(8, 8).double(), torch.randn(8)])
def test_other_forms_are_refused(launcher: Launcher, other: torch.Tensor) -> None:
    x, w = draw()
    with torch.no_grad(), pytest.raises((OutsideDomain, RuntimeError)):
        launcher.call(other, w)
    with torch.no_grad(), pytest.raises((OutsideDomain, RuntimeError)):
        launcher.call(x, other)


def test_results_are_memory_of_their_own(launcher: Launcher) -> None:
    with torch.no_grad():
        first = launcher.call(*draw())
        kept = [t.clone() for t in first]
        launcher.call(*draw())
    for mine, its in zip(first, kept, strict=True):
        assert torch.equal(mine, its)
