"""Lazy formulas of pairs: values, gradients, edges and faults against dense PyTorch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kernelwright.errors import PairwiseInvalid
from kernelwright.kernels.pairwise import Reduction, candidate
from kernelwright.ops import (
    LazyMatrix,
    _pairwise_run,
    arccos,
    cosine,
    fidelity,
    gaussian,
    inverse_multiquadric,
    laplace,
    matern,
    pairs,
    polynomial,
    watching,
)
from kernelwright.targets import load

Tensor = torch.Tensor


def points(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def distance(x: Tensor, z: Tensor) -> Tensor:
    return (x[:, None] - z[None]).square().sum(-1)


def angle(x: Tensor, z: Tensor) -> Tensor:
    return torch.acos(torch.nn.functional.cosine_similarity(x[:, None], z[None], dim=-1))


def lengths(x: Tensor, z: Tensor) -> Tensor:
    return x.norm(dim=1)[:, None] * z.norm(dim=1)


NAMED: dict[str, tuple[Callable[..., LazyMatrix], Callable[[Tensor, Tensor], Tensor]]] = {
    "gaussian": (lambda x, z: gaussian(x, z, 0.7), lambda x, z: torch.exp(-distance(x, z) / (2 * 0.49))),
    "laplace": (lambda x, z: laplace(x, z, 2.0), lambda x, z: torch.exp(-distance(x, z).sqrt() / 2)),
    "matern": (
        lambda x, z: matern(x, z, 1.5, 0.8),
        lambda x, z: (
            (1 + math.sqrt(3) / 0.8 * distance(x, z).sqrt()) * torch.exp(-math.sqrt(3) / 0.8 * distance(x, z).sqrt())
        ),
    ),
    "polynomial": (lambda x, z: polynomial(x, z, 3, 0.2, 1.0), lambda x, z: (0.2 * (x @ z.T) + 1) ** 3),
    "arccos0": (lambda x, z: arccos(x, z, 0), lambda x, z: 1 - angle(x, z) / math.pi),
    "arccos1": (
        lambda x, z: arccos(x, z),
        lambda x, z: lengths(x, z) * (angle(x, z).sin() + (math.pi - angle(x, z)) * angle(x, z).cos()) / math.pi,
    ),
    "inverse_multiquadric": (
        lambda x, z: inverse_multiquadric(x, z, 1.5),
        lambda x, z: 1 / torch.sqrt(1 + distance(x, z) / 2.25),
    ),
    "cosine": (cosine, lambda x, z: torch.cos(x @ z.T)),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_kernels_and_their_sums_are_those_of_the_dense_matrix(name: str) -> None:
    lazy, plain = NAMED[name]
    x, z, v = points(7, 3), points(5, 3, 1), points(5, 2, 2)
    torch.testing.assert_close(lazy(x, z).dense(), plain(x, z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(lazy(x, z) @ v, plain(x, z) @ v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMED)
def test_gradients_of_sums_are_those_of_the_dense_matrix(name: str) -> None:
    lazy, plain = NAMED[name]
    for r in (1, 3):
        x, z, v = (points(n, k, s).requires_grad_() for n, k, s in ((7, 3, 0), (5, 3, 1), (5, r, 2)))
        c = points(7, r, 3)
        made = torch.autograd.grad(lazy(x, z) @ v, (x, z, v), c)
        want = torch.autograd.grad(plain(x, z) @ v, (x, z, v), c)
        for a, b in zip(made, want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["gaussian", "matern", "arccos1"])
def test_first_and_second_derivatives_pass_gradcheck(name: str) -> None:
    lazy, _ = NAMED[name]
    x, z, v = (points(n, k, s).requires_grad_() for n, k, s in ((3, 2, 0), (4, 2, 1), (4, 2, 2)))
    assert torch.autograd.gradcheck(lambda x, z, v: lazy(x, z) @ v, (x, z, v))
    assert torch.autograd.gradgradcheck(lambda x, z, v: lazy(x, z) @ v, (x, z, v))


def test_other_reductions_and_their_gradients() -> None:
    x, z, h = points(6, 3).requires_grad_(), points(9, 3, 1).requires_grad_(), torch.tensor(0.8, dtype=torch.float64)
    h.requires_grad_()
    lazy = -pairs(x, z).sqdist / (2 * h * h)
    plain = -distance(x, z) / (2 * h * h)
    cases = [
        (lazy.logsumexp(), plain.logsumexp(1)),
        (lazy.max(), plain.max(1).values),
        (lazy.min(), plain.min(1).values),
        (lazy.topk(3)[0], plain.topk(3, 1).values),
        (lazy.topk(2, largest=False)[0], plain.topk(2, 1, largest=False).values),
        (lazy.sum(), plain.sum(1)),
        (lazy.exp().dense(), plain.exp()),
    ]
    for made, want in cases:
        torch.testing.assert_close(made, want, rtol=1e-12, atol=1e-12)
        c = torch.randn(made.shape, generator=torch.Generator().manual_seed(5), dtype=made.dtype)
        pair = zip(torch.autograd.grad(made, (x, z, h), c, retain_graph=True),
                   torch.autograd.grad(want, (x, z, h), c, retain_graph=True), strict=True)  # fmt: skip
        for a, b in pair:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert torch.equal(lazy.argmax(), plain.argmax(1))
    assert torch.equal(lazy.argmin(), plain.argmin(1))
    assert torch.equal(lazy.topk(4)[1], plain.topk(4, 1).indices)


def test_logsumexp_twice_differentiable() -> None:
    x, z = points(3, 2).requires_grad_(), points(4, 2, 1).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, z: (-pairs(x, z).sqdist).logsumexp(), (x, z))


def test_a_formula_of_its_own_with_rows_and_columns_and_parameters() -> None:
    x, z = points(6, 3), points(5, 3, 1)
    a, b, h = points(6, 1, 2)[:, 0].requires_grad_(), points(5, 1, 3)[:, 0].requires_grad_(), points(1, 1, 4)
    h.requires_grad_()
    p = pairs(x, z)
    lazy = (p.inner * h + p.left(a) * p.right(b)).tanh() ** 2 / (p.left_sq + p.right_sq + 0.3)
    inside = (x @ z.T * h + a[:, None] * b).tanh() ** 2
    plain = inside / (x.square().sum(1)[:, None] + z.square().sum(1) + 0.3)
    torch.testing.assert_close(lazy.sum(), plain.sum(1))
    torch.testing.assert_close(lazy.T.sum(), plain.sum(0))
    made = torch.autograd.grad(lazy.sum().square().sum(), (a, b, h))
    want = torch.autograd.grad(plain.sum(1).square().sum(), (a, b, h))
    for one, other in zip(made, want, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_points_with_themselves_are_finite_for_kernels_with_a_kink() -> None:
    x = points(5, 3).requires_grad_()
    for kernel in (laplace, matern, arccos):
        (grad,) = torch.autograd.grad(kernel(x, x).sum().sum(), x)
        assert grad.isfinite().all()


def test_fidelity_of_states_is_one_with_themselves_and_zero_with_orthogonal_ones() -> None:
    states = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)).Q
    torch.testing.assert_close(fidelity(states, states).dense(), torch.eye(4, dtype=torch.float64))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pairwise_run, "MOST_POINTS", 7)
    monkeypatch.setattr(_pairwise_run, "MOST_VALUES", 2)
    monkeypatch.setattr(_pairwise_run, "_MANY", 16)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_of_rows_and_columns_join_to_the_whole() -> None:
    x, z, v = points(40, 3), points(25, 3, 1), points(25, 5, 2)
    lazy, plain = -pairs(x, z).sqdist, -distance(x, z)
    torch.testing.assert_close(lazy @ v, plain @ v)
    torch.testing.assert_close(lazy.logsumexp(), plain.logsumexp(1))
    torch.testing.assert_close(lazy.topk(9)[0], plain.topk(9, 1).values)
    assert torch.equal(lazy.topk(9, largest=False)[1], plain.topk(9, 1, largest=False).indices)
    torch.testing.assert_close(lazy.dense(), plain)


@pytest.mark.usefixtures("small_blocks")
def test_a_symmetric_matrix_times_a_vector_evaluates_every_pair_once() -> None:
    x, v = points(40, 3), points(40, 1, 1)[:, 0]
    seen: list[tuple[int, int]] = []
    with watching(lambda done, whole: seen.append((done, whole))):
        made = gaussian(x, x) @ v
    torch.testing.assert_close(made, torch.exp(-distance(x, x) / 2) @ v)
    assert seen[-1] == (1600, 1600)
    assert len(seen) == 21 + 15  # blocks on and above the diagonal; those above count for two
    assert all(a[0] < b[0] for a, b in itertools.pairwise(seen))


@pytest.mark.usefixtures("small_blocks")
def test_arrays_mapped_from_files_are_read_block_by_block(tmp_path: Path) -> None:
    z = points(30, 3, 1)
    np.save(tmp_path / "z.npy", z.numpy())
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    done: list[float] = []
    with watching(lambda some, whole: done.append(some / whole)):
        made = gaussian(points(20, 3), mapped).sum()
    torch.testing.assert_close(made, gaussian(points(20, 3), z).sum())
    assert done[-1] == 1.0
    assert len(done) == 4 * 5


def test_gradients_through_kernels_are_those_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels: list[str] = []

    def build(reduction: Reduction, tensors: tuple[Tensor, ...], shape: tuple[int, int]) -> Callable[..., object]:
        kernels.append(reduction.kind)
        return load(candidate(reduction, tensors[0].dtype), reduction, {})

    x, z, v = (points(n, k, s).requires_grad_() for n, k, s in ((37, 3, 0), (45, 3, 1), (45, 2, 2)))
    want = torch.autograd.grad((gaussian(x, z) @ v).square().sum() + gaussian(x, z).logsumexp().sum(), (x, z, v))
    monkeypatch.setattr(_pairwise_run, "_kernel", build)
    made = torch.autograd.grad((gaussian(x, z) @ v).square().sum() + gaussian(x, z).logsumexp().sum(), (x, z, v))
    for a, b in zip(made, want, strict=True):
        torch.testing.assert_close(a, b)
    assert kernels.count("sum") > 4


def test_empty_and_single_points() -> None:
    x, none = points(3, 2), points(0, 2)
    assert torch.equal(gaussian(x, none).sum(), torch.zeros(3, dtype=torch.float64))
    assert torch.equal(gaussian(x, none).logsumexp(), torch.full((3,), -torch.inf, dtype=torch.float64))
    assert gaussian(none, x).sum().shape == (0,)
    assert (gaussian(none, x) @ points(3, 2)).shape == (0, 2)
    assert gaussian(x[:1], x[:1]).sum().tolist() == [1.0]
    with pytest.raises(PairwiseInvalid, match="no points"):
        gaussian(x, none).max()


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    x, z = points(3, 2), points(4, 3)
    with pytest.raises(PairwiseInvalid, match="as many coordinates"):
        pairs(x, z)
    with pytest.raises(PairwiseInvalid, match="float32 or float64"):
        pairs(x.half(), x.half())
    with pytest.raises(PairwiseInvalid, match="v is"):
        gaussian(x, x) @ points(4, 1)
    with pytest.raises(PairwiseInvalid, match="does not fit"):
        gaussian(x, x) + gaussian(z, z)
    with pytest.raises(PairwiseInvalid, match="bandwidth"):
        gaussian(x, x, bandwidth=-1.0)
    with pytest.raises(PairwiseInvalid, match="k is 9"):
        gaussian(x, x).topk(9)
    with pytest.raises(PairwiseInvalid, match="exponent"):
        gaussian(x, x) ** 0.3
