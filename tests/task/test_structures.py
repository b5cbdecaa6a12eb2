"""Each structure's law, and what a tensor's character keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kernelwright import task
from kernelwright.task._inputs import characterise, clone, redraw

Draw = Callable[[int, str], tuple[Any, ...]]


def drawer(function: Callable[..., Any], *inputs: Any) -> Draw:
    return task.load(task.from_callable(function, inputs, name="f")).draw


@pytest.fixture
def free() -> Draw:
    torch.manual_seed(0)
    return drawer(torch.relu, torch.rand(64, 128))


def test_laws(free: Draw) -> None:
    drawn = {s: free(1, s)[0] for s in task.STRUCTURES}
    rms = free(0, "given")[0].square().mean().sqrt()
    assert abs(drawn["normal"].std() / rms - 1) < 0.1
    assert (drawn["normal"] < 0).float().mean() > 0.4
    assert drawn["constant"].unique().numel() == 1
    assert drawn["constant"].any()
    assert 0.9 < (drawn["sparse"] == 0).float().mean() < 1
    assert (drawn["sorted"].diff(dim=-1) >= 0).all()
    assert drawn["sorted"].std() > 0
    assert 0.9e3 < drawn["large"].std() / rms < 1.1e3
    assert 0.9e-3 < drawn["small"].std() / rms < 1.1e-3
    assert drawn["offset"].mean() > 10 * drawn["offset"].std()
    assert drawn["heavy"].abs().max() > 50 * drawn["heavy"].abs().median() > 0
    special = drawn["special"]
    assert special.isnan().any()
    assert (special == torch.inf).any()
    assert (special == -torch.inf).any()
    assert ((special == 0) & special.signbit()).any()
    assert ((special.abs() > 0) & (special.abs() < torch.finfo(torch.float32).tiny)).any()
    assert special.isfinite().float().mean() > 0.99


def test_reproducible_and_different(free: Draw) -> None:
    for structure in task.STRUCTURES:
        first, again, other = free(1, structure)[0], free(1, structure)[0], free(2, structure)[0]
        assert torch.equal(first.nan_to_num(), again.nan_to_num())
        assert not torch.equal(first.nan_to_num(), other.nan_to_num())


def test_drawing_does_not_change_the_reference() -> None:
    module = torch.nn.BatchNorm1d(4)
    reference = task.load(task.from_callable(module, (torch.rand(8, 4),)))
    before = {k: v.clone() for k, v in reference.state.items()}
    for structure in task.STRUCTURES:
        reference.draw(0, structure)
    assert all(torch.equal(before[k], v) for k, v in reference.state.items())


@pytest.mark.parametrize("structure", task.STRUCTURES)
def test_integers_and_bools_are_kept(structure: str) -> None:
    index, mask = torch.randint(0, 9, (20,)), torch.rand(20) > 0.5
    x, i, m = drawer(lambda x, i, m: x[i] * m, torch.randn(9), index, mask)(0, structure)
    assert torch.equal(i, index)
    assert torch.equal(m, mask)
    assert x.dtype == torch.float32


@pytest.mark.parametrize("structure", task.STRUCTURES[1:])
@pytest.mark.parametrize(
    ("given", "valid"),
    [
        (torch.tensor([1.0, -1.0]).repeat(50), lambda t: (t.abs() == 1).all()),
        (torch.eye(5).repeat(4, 1), lambda t: (t.sum(-1) == 1).all() and (t.max(-1).values == 1).all()),
        (torch.randn(9, 7).softmax(-1), lambda t: (t >= 0).all() and ((t.sum(-1) - 1).abs() < 1e-4).all()),
        ((torch.arange(40) % 3 == 0).float(), lambda t: ((t == 0) | (t == 1)).all()),
        (torch.where(torch.ones(6, 6).tril() == 1, 0.0, -torch.inf), lambda t: not t.isfinite().all()),
    ],
    ids=["labels", "one-hot", "probabilities", "zero-one", "mask"],
)
def test_targets_stay_valid(structure: str, given: Tensor, valid: Callable[[Tensor], Any]) -> None:
    assert valid(redraw(given, structure, characterise(given), seed=3))


@pytest.mark.parametrize("structure", [s for s in task.STRUCTURES[1:] if s != "special"])
def test_forms_stay(structure: str) -> None:
    square = torch.randn(8, 8)
    upper, symmetric = square.triu(), square + square.mT
    drawn = redraw(upper, structure, characterise(upper), seed=1)
    assert torch.equal(drawn, drawn.triu())
    drawn = redraw(symmetric, structure, characterise(symmetric), seed=1)
    assert torch.equal(drawn, drawn.mT)


def test_unit_interval_is_signed_only_where_the_reference_takes_it() -> None:
    x, y = torch.rand(200), torch.rand(200)
    assert (drawer(torch.relu, x)(0, "normal")[0] < 0).any()
    assert (drawer(torch.log, x)(0, "normal")[0] >= 0).all()
    prediction, target = drawer(F.binary_cross_entropy, x, y)(0, "normal")  # raises outside [0, 1]
    assert prediction.min() >= 0
    assert prediction.max() <= 1
    assert target.isfinite().all()
    a, b = drawer(lambda a, b: a.sqrt() + b, x, y)(0, "normal")
    assert (a >= 0).all()
    assert (b < 0).any()


def test_large_is_scaled_down_where_the_reference_overflows() -> None:
    x = torch.randn(100)
    assert drawer(torch.relu, x)(0, "large")[0].abs().max() > 1e3
    (tempered,) = drawer(torch.exp, x)(0, "large")
    assert 5 < tempered.abs().max() < 90


def test_half_precision_stays_finite() -> None:
    x = torch.randn(64, 64).half()
    draw = drawer(torch.relu, x)
    assert all(draw(0, s)[0].isfinite().all() for s in task.STRUCTURES if s != "special")


def test_strides_survive() -> None:
    for given in (torch.rand(4, 6).t(), torch.rand(3, 1).expand(3, 5), torch.rand(8, 8)[::2, 1:7]):
        for copy in (clone(given), redraw(given, "normal", characterise(given), seed=0)):
            assert copy.stride() == given.stride()
            assert copy.shape == given.shape


def test_in_domain() -> None:
    nan, one = torch.tensor([torch.nan]), torch.ones(1)
    assert task.in_domain((one,), one)
    assert not task.in_domain((one,), nan)
    assert task.in_domain((nan,), nan)
    assert task.in_domain((one / 0,), [nan])
