"""Generated reductions over pairs, built and run on this machine, against the same reductions in float64."""

from __future__ import annotations

import pytest
import torch

from kernelwright.kernels.pairwise import Program, Reduction, candidate, linearise, sizes
from kernelwright.ops import LazyMatrix, arccos, fidelity, gaussian, laplace, matern, pairs
from kernelwright.targets import load

Tensor = torch.Tensor


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(lazy: LazyMatrix, kind: str, *given: Tensor, k: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    """What the kernel gives, and what the reference gives in float64."""
    program, tensors = linearise(lazy._node)
    reduction = Reduction(program, kind, k)
    flat = reduction.flat(tensors, *given)
    made = load(candidate(reduction, lazy.dtype), reduction, {})(*flat)
    want = reduction(*(tensor.double() for tensor in flat))
    return (list(made) if isinstance(made, tuple | list) else [made]), (
        list(want) if isinstance(want, tuple) else [want]
    )


def relative(made: Tensor, want: Tensor) -> float:
    return float((made.double() - want).abs().max() / want.abs().max())


# A sum of m terms in float32: each is off by a few units and by the rounding of its exponent, sums of 48 and then of
# m / 48 terms add half a unit for each; 1e-5 is ten times what that gives here.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 2e-14}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_of_every_ragged_size(dtype: torch.dtype) -> None:
    for n, m, d, r in (
        (1, 1, 1, 1),
        (33, 47, 3, 1),
        (31, 49, 47, 3),
        (65, 13, 48, 17),
        (2, 100, 130, 24),
        (300, 97, 16, 5),
    ):
        x, z, v = normal(n, d, dtype=dtype), normal(m, d, seed=1, dtype=dtype), normal(m, r, seed=2, dtype=dtype).abs()
        (made,), (want,) = built(gaussian(x, z, d**0.5), "sum", v)
        assert made.shape == (n, r)
        assert relative(made, want) < TOLERANCE[dtype]


@pytest.mark.parametrize("kind", ["logsumexp", "largest", "smallest", "dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_reductions(kind: str, dtype: torch.dtype) -> None:
    for n, m, d in ((1, 5, 2), (70, 131, 3), (33, 50, 60)):
        x, z = normal(n, d, dtype=dtype), normal(m, d, seed=1, dtype=dtype)
        lazy = pairs(x, z).sqdist * -1.5 if kind != "dense" else laplace(x, z, 2.0)
        made, want = built(lazy, kind, k=4 if kind in ("largest", "smallest") else 1)
        assert relative(made[0], want[0]) < TOLERANCE[dtype]
        if len(made) == 2:
            assert torch.equal(made[1], want[1])


def test_products_with_a_matrix_and_its_transpose_at_once() -> None:
    for n, m in ((1, 1), (31, 100), (70, 49)):
        x, z = normal(n, 3), normal(m, 3, seed=1)
        made, want = built(gaussian(x, z), "both", normal(m, 1, seed=2).abs(), normal(n, 1, seed=3).abs())
        assert relative(made[0], want[0]) < 1e-5
        assert relative(made[1], want[1]) < 1e-5


FORMULAS = {
    "matern": lambda x, z: matern(x, z, 2.5, 1.3),
    "arccos": arccos,
    "rows and columns": lambda x, z: pairs(x, z).inner.tanh() * pairs(x, z).left_sq - pairs(x, z).right_sq.sqrt(),
    "powers": lambda x, z: (pairs(x, z).sqdist + 1) ** -3 + pairs(x, z).inner ** 5,
    "angles": lambda x, z: (pairs(x, z).inner * 0.1).clamp(-1, 1).asin().cos() + pairs(x, z).inner.atan(),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    x, z = normal(40, 5), normal(55, 5, seed=1)
    (made,), (want,) = built(FORMULAS[name](x, z), "dense")
    assert relative(made, want) < 1e-5


def test_two_sets_of_points_in_one_formula() -> None:
    x, z = torch.complex(normal(9, 4), normal(9, 4, seed=1)), torch.complex(normal(7, 4, seed=2), normal(7, 4, seed=3))
    (made,), (want,) = built(fidelity(x, z), "sum", torch.ones(7, 1))
    assert relative(made, want) < 1e-5


def test_distances_of_close_and_of_far_points_do_not_cancel() -> None:
    x = normal(40, 100) + 1000.0  # every |x|^2 is a million times the distances
    z = torch.cat([x[:20], normal(30, 100, seed=1) + 1000.0])
    (made,), _ = built(pairs(x, z).sqdist, "dense")
    exact = (x.double()[:, None] - z.double()).square().sum(-1)
    assert torch.equal(made[range(20), range(20)], torch.zeros(20))
    torch.testing.assert_close(made.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("d", [3, 64])
def test_nan_and_infinity_stay_in_their_rows_and_columns(d: int) -> None:
    x, z = normal(40, d), normal(60, d, seed=1)
    x[3, 1], x[5, 0], z[7, 2] = torch.nan, torch.inf, -torch.inf
    exact = (x.double()[:, None] - z.double()).square().sum(-1)
    (made,), _ = built(gaussian(x, z, d**0.5), "dense")
    torch.testing.assert_close(made.double(), (-exact / (2 * d)).exp(), rtol=1e-5, atol=1e-6, equal_nan=True)
    (made,), _ = built(-pairs(x, z).sqdist, "logsumexp")
    torch.testing.assert_close(made.double(), (-exact).logsumexp(1), rtol=1e-5, atol=1e-5, equal_nan=True)


def test_largest_and_smallest_with_nan_infinity_and_equals() -> None:
    x = torch.ones(2, 1)
    z = torch.tensor([3.0, torch.nan, 1.0, 3.0, -torch.inf, torch.inf])[:, None]
    (values, places), _ = built(pairs(x, z).inner, "largest", k=4)
    assert places[0].tolist() == [1, 5, 0, 3]
    assert values[0, 1:].tolist() == [torch.inf, 3.0, 3.0]
    (values, places), _ = built(pairs(x, z).inner, "smallest", k=6)
    assert places[0].tolist() == [4, 2, 0, 3, 5, 1]


def test_programs_of_equal_formulas_are_equal_whatever_their_tensors() -> None:
    def program(seed: int, bandwidth: float) -> Program:
        return linearise(gaussian(normal(3, 2, seed=seed), normal(4, 2), bandwidth)._node)[0]

    assert program(0, 0.3) == program(1, 0.7)
    assert hash(program(0, 0.3)) == hash(program(1, 0.7))
    assert {size.name: size.lo for size in sizes(Reduction(program(0, 1.0), "largest", 3))} == {"n": 1, "m": 3, "d0": 1}
