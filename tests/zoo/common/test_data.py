"""Splits: always alike, disjoint, with every class's share on both sides; scales; drawn clouds."""

from __future__ import annotations

import pytest
import torch

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import blobs, load, one_hot

SIZES = {"breast-cancer": (569, 30, 2), "diabetes": (442, 10, 0), "digits": (1797, 64, 10), "iris": (150, 4, 3),
         "wine": (178, 13, 3)}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_a_split_is_a_partition_and_always_alike(name: str) -> None:
    count, width, classes = SIZES[name]
    split, again = load(name, scale="none"), load(name, scale="none")
    assert len(split.train_x) + len(split.test_x) == count
    assert split.train_x.shape[1] == split.test_x.shape[1] == width
    assert split.classes == classes
    assert torch.equal(split.test_x, again.test_x)
    assert not torch.equal(split.test_x, load(name, scale="none", seed=1).test_x)
    everything = load(name, scale="none", test=0.5)
    both = [torch.cat([s.train_x, s.test_x]).sort(0).values for s in (split, everything)]
    assert torch.equal(*both)


def test_classes_keep_their_shares() -> None:
    split = load("breast-cancer", test=0.2)
    shares = [torch.bincount(y).double() / len(y) for y in (split.train_y, split.test_y)]
    assert torch.allclose(*shares, atol=0.01)
    assert len(torch.unique(load("iris", test=0.01).test_y)) == 3  # at least one of every class
    assert len(torch.unique(load("iris", test=0.99).train_y)) == 3


def test_scales_are_those_of_the_training_part() -> None:
    unit = load("wine", dtype=torch.float64)
    assert torch.allclose(unit.train_x.amin(0), torch.zeros(13).double())
    assert torch.allclose(unit.train_x.amax(0), torch.ones(13).double())
    standard = load("wine", scale="standard", dtype=torch.float64)
    assert torch.allclose(standard.train_x.mean(0), torch.zeros(13).double(), atol=1e-12)
    assert torch.allclose(standard.train_x.std(0), torch.ones(13).double())
    digits = load("digits", scale="standard")
    assert torch.isfinite(digits.train_x).all()  # pixels that never change
    assert torch.equal(load("digits").train_x, load("digits", scale="none").train_x / 16)
    assert load("diabetes").train_y.is_floating_point()


@pytest.mark.parametrize("options", [{"name": "mnist"}, {"name": "iris", "scale": "log"}, {"name": "iris", "test": 1}])
def test_bad_arguments_are_named(options: dict[str, object]) -> None:
    with pytest.raises(ZooInvalid, match=r"name is 'mnist'|scale is 'log'|test is 1"):
        load(**options)  # type: ignore[arg-type]


def test_one_hot() -> None:
    y = torch.tensor([2, 0, 1])
    assert torch.equal(one_hot(y, 4).argmax(1), y)
    assert one_hot(y, 3, torch.float64).dtype == torch.float64
    assert one_hot(y[:0], 3).shape == (0, 3)
    for bad in (torch.tensor([3]), torch.tensor([-1])):
        with pytest.raises(ZooInvalid):
            one_hot(bad, 3)


def test_blobs_lie_apart_in_any_dimension() -> None:
    for dim in (2, 64):
        x, y = blobs(3000, dim, 3, apart=20.0, seed=4)
        centres = torch.stack([x[y == c].mean(0) for c in range(3)])
        assert float(torch.cdist(x, centres).argmin(1).eq(y).double().mean()) > 0.99
        within = torch.cat([x[y == c] - centres[c] for c in range(3)])
        assert float(within.std()) == pytest.approx(1.0, abs=0.03)
    with pytest.raises(ZooInvalid):
        blobs(0, 2, 2)
