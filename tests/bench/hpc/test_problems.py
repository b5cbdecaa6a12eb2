"""The references themselves: what must hold of the mathematics, and that wrong results are seen."""

from __future__ import annotations

import numpy as np
import pytest

from kernelwright.bench.hpc._blas import csr_product
from kernelwright.bench.hpc._problem import Run, Variant, difference
from kernelwright.bench.hpc._solvers import _sweeps
from kernelwright.bench.hpc._trial import PROBLEMS

EPS = float(np.finfo(np.float64).eps)


def test_a_linear_field_is_a_fixed_point_of_jacobi() -> None:
    i, j, k = np.meshgrid(*(np.arange(n, dtype=float) for n in (5, 6, 7)), indexing="ij")
    u = 2 * i - 3 * j + k + 1
    assert np.allclose(_sweeps(u, np.zeros_like(u), 4), u, atol=1e-12)


def test_a_product_with_the_identity_is_exact() -> None:
    x = np.random.default_rng(0).standard_normal(9)
    case = {"row_ptr": np.arange(10), "col_idx": np.arange(9), "val": np.ones(9)}
    assert np.array_equal(csr_product(case, x), x)
    shifted = {"row_ptr": np.arange(10) + 1, "col_idx": np.arange(9) + 1, "val": np.ones(9)}
    assert np.array_equal(csr_product(shifted, x), x)


@pytest.mark.parametrize("kernel", PROBLEMS)
def test_there_are_sizes_of_one_and_ragged_ones(kernel: str) -> None:
    rng = np.random.default_rng(0)
    cases = list(PROBLEMS[kernel].cases(rng, frozenset({"cols", "m", "n", "k", "nx", "ny", "nz", "A", "tol"})))
    sizes = [
        int(np.size(case["u"] if kernel == "jacobi" else case["x"] if "x" in case else case["C"])) for case in cases
    ]
    assert len(cases) >= 5
    assert min(sizes) == 1
    assert any(size % 8 for size in sizes)
    assert sizes[-1] == max(sizes)


def test_systems_are_symmetric_definite_and_solved_in_n_steps() -> None:
    for case in PROBLEMS["cg"].cases(np.random.default_rng(1), frozenset({"A", "tol"})):
        A, b, x = case["A"], case["b"], np.zeros(case["n"])
        assert np.array_equal(A, A.T)
        assert np.min(np.linalg.eigvalsh(A)) > 0
        r = b - A @ x
        p = r.copy()
        for _ in range(case["n"] + 2):
            if np.linalg.norm(r) < 1e-13:
                break
            alpha = (r @ r) / (p @ A @ p)
            x, last = x + alpha * p, r
            r = r - alpha * (A @ p)
            p = r + (r @ r) / (last @ last) * p
        assert PROBLEMS["cg"].judge(Run(case, {"x": x}, (), EPS, frozenset({"A", "tol"}))) == ""


@pytest.mark.parametrize(("kernel", "place"), [("axpy", "y"), ("gemv", "y"), ("gemm", "C"), ("spmv", "y")])
def test_a_result_that_is_off_is_seen(kernel: str, place: str) -> None:
    problem, bound = PROBLEMS[kernel], frozenset({"m", "n", "k", "cols"})
    for case in problem.cases(np.random.default_rng(2), bound):
        right = {
            "axpy": lambda c: c["a"] * c["x"] + c["y"], "gemv": lambda c: c["A"] @ c["x"],
            "gemm": lambda c: c["A"] @ c["B"], "spmv": lambda c: csr_product(c, c["x"]),
        }[kernel](case)  # fmt: skip
        assert problem.judge(Run(case, {place: right}, (), EPS, bound)) == ""
        assert problem.judge(Run(case, {}, (right,), EPS, bound)) == ""
        off = right.copy()
        off.flat[-1] += 1e-3
        assert "instead of" in problem.judge(Run(case, {place: off}, (), EPS, bound))
        off.flat[-1] = np.nan
        assert problem.judge(Run(case, {place: off}, (), EPS, bound))
        assert problem.judge(Run(case, {}, (), EPS, bound)) == "it neither returns nor writes a result"


def test_arguments_must_be_left_alone() -> None:
    case = next(iter(PROBLEMS["axpy"].cases(np.random.default_rng(3), frozenset())))
    after = {"y": case["a"] * case["x"] + case["y"], "x": case["x"] * 2}
    assert PROBLEMS["axpy"].judge(Run(case, after, (), EPS)) == "it changes x"


def test_what_signatures_leave_open() -> None:
    problem = PROBLEMS["gemm"]
    case = next(iter(problem.cases(np.random.default_rng(4), frozenset({"m", "n", "k"}))))
    columns = problem.arguments(case, Variant(layout="F"))
    assert (columns["lda"], columns["ldb"], columns["ldc"]) == (case["m"], case["k"], case["m"])
    halo = PROBLEMS["jacobi"].arguments({"nx": 5, "ny": 6, "nz": 7}, Variant(halo=True))
    assert (halo["nx"], halo["ny"], halo["nz"]) == (3, 4, 5)


def test_differences_are_said() -> None:
    assert difference(np.ones(3), np.ones(3), 0.0) == ""
    assert "3 numbers where 4" in difference(np.ones(3), np.ones(4), 1.0)
    assert "[1] is 2" in difference(np.array([1.0, 2.0]), np.array([1.0, 1.0]), 0.5)
