"""Jacobi and conjugate gradients: their arguments, cases to try, and what is right, in plain float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._blas import CSR_ROLES, csr_product
from ._problem import Array, Case, Problem, Run, Variant, difference
from ._roles import Role

_ENOUGH = 1e-4  # of the right-hand side: what is left over once somebody's own tolerance is reached
_DIGITS = 1e4  # rounding units that a solution may be off by, where the tolerance is ours


class Jacobi(Problem):
    """u'[i,j,k] = (sum of the six neighbours) / 6 inside, boundaries as they are; with a source (± h²f) likewise.

    What iterates swaps its arrays, so that the result may lie in either.
    """

    roles = (
        Role("nx", "int", (0,), "nx|n|x|nrows|rows|size|dimx|sizex|xdim|dim|m|ni|ncells|npoints"),
        Role("ny", "int", (0,), "ny|y|cols|ncols|dimy|sizey|ydim|m|nj"),
        Role("nz", "int", (0,), "nz|z|depth|dimz|sizez|zdim|l|nk|k|p"),
        Role("steps", "int", (0,), r"n?(iter|iters|iterations?|steps|maxiter\w*|timesteps?|t|nt|itermax|niter|maxit)"),
        Role("tol", "real", (0,), "tol|tolerance|eps|epsilon|threshold"),
        Role("h2", "real", (0,), "h2|hsq|dx2|hh", place=False),
        Role("h", "real", (0,), "h|dx|dy|dz", place=False),
        Role("u", "real", (1, 3), "u|uold|old|a|in|input|x|grid|src|t|told|current|phi|xold|aold|v|data|u0"),
        Role("next", "real", (1, 3), r"un|\w*(new|next|tmp|temp)|out|output|b|y|dst|result|anext|res"),
        Role("f", "real", (1, 3), "f|rhs|source|b|g"),
    )
    needs = ({"u"},)
    layouts = ("C", "F")
    halos = (False, True)

    def cases(self, rng: np.random.Generator, bound: frozenset[str]) -> Iterator[Case]:
        shapes = [(5, 6, 7), (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 17, 5), (33, 34, 35)]
        if len({"nx", "ny", "nz"} & bound) in (1, 2):
            shapes = [(s, s, s) for s in (5, 1, 2, 3, 17, 34)]
        for nx, ny, nz in shapes:
            u = rng.standard_normal((nx, ny, nz))
            after = u.copy()
            after[1:-1, 1:-1, 1:-1] = 0.0
            case: Case = {"nx": nx, "ny": ny, "nz": nz, "u": u, "next": after, "h": 0.5, "h2": 0.25}
            yield case | {"f": rng.standard_normal(u.shape), "steps": 3 if nx > 4 else 2, "tol": 0.0}

    def arguments(self, case: Case, variant: Variant) -> Case:
        halo = 2 if variant.halo else 0
        return case | {name: case[name] - halo for name in ("nx", "ny", "nz")}

    def wrong(self, run: Run) -> str:
        steps = run.case["steps"] if "steps" in run.bound else 1
        factors = [0.0]
        if "f" in run.bound:
            square = 0.25 if {"h", "h2"} & run.bound else 1.0
            factors = [-square, square]
        wants = [_sweeps(run.case["u"], run.case["f"] * factor, steps) for factor in factors]
        bound = 64 * run.unit * (steps + 1) * (1 + float(np.max(np.abs(run.case["u"]))))
        said = run.any_of(("next", "u"), wants, bound)
        return said and self._inside(run, wants, bound) and said

    def _inside(self, run: Run, wants: list[Array], bound: float) -> str:
        """What allocates its result need not say what its boundary is."""
        inner = (slice(1, -1),) * 3
        for got in run.returned:
            if got.size == wants[0].size:
                got = got.reshape(wants[0].shape)[inner]
                if any(difference(got, want[inner], bound) == "" for want in wants):
                    return ""
        return "no"


def _sweeps(u: Array, source: Array, steps: int) -> Array:
    inner = (slice(1, -1),) * 3
    for _ in range(steps):
        total = source[inner].copy()
        for axis in range(3):
            for shift in (-1, 1):
                total += np.roll(u, shift, axis)[inner]
        u = u.copy()
        u[inner] = total / 6
    return u


class Cg(Problem):
    """Solves A·x = b for a symmetric positive definite matrix, dense or in CSR form, from a start in x."""

    roles = (
        Role("n", "int", (0,), "n|size|dim|len|length|rows|nrows|m|count|num"),
        Role("steps", "int", (0,), r"n?(iter|iters|iterations?|steps|maxiter\w*|itermax|imax|maxit\w*|maxsteps)"),
        Role("nnz", "int", (0,), "nnz", place=False),
        Role("tol", "real", (0,), "tol|tolerance|eps|epsilon|rtol|threshold|rtolerance|residualtol"),
        Role("A", "real", (1, 2), "a|mat|matrix"),
        *CSR_ROLES,
        Role("b", "real", (1,), "b|rhs|f|y"),
        Role("x", "real", (1,), "x|xinit|sol|solution|u|guess|initialguess"),
        *(Role(f"w{k}", "real", (1,), names) for k, names in enumerate(("r|res|residual", "p|d|dir", "ap|q|w|s|tmp"))),
    )
    needs = ({"A", "b"}, {"row_ptr", "col_idx", "val", "b"})
    constants = frozenset({"A", "row_ptr", "col_idx", "val"})
    bases = (0, 1)

    def cases(self, rng: np.random.Generator, bound: frozenset[str]) -> Iterator[Case]:
        for n in (5, 1, 2, 17, 64, 300 if "A" in bound else 3001):
            rows, columns, values = _definite(rng, n)
            case: Case = {"n": n, "b": rng.standard_normal(n), "x": rng.standard_normal(n), "nnz": len(rows)}
            case |= {"row_ptr": np.searchsorted(rows, np.arange(n + 1)).astype(np.int64), "col_idx": columns}
            case |= {"val": values, "tol": 1e-9, "steps": 4 * n + 40 if "tol" in bound else n}
            if "A" in bound:
                case["A"] = np.zeros((n, n))
                case["A"][rows, columns] = values
            yield case | {f"w{k}": np.zeros(n) for k in range(3)}

    def arguments(self, case: Case, variant: Variant) -> Case:
        single = {"tol": 1e-5} if variant.dtype == "float32" else {}
        return super().arguments(case, variant) | single

    def wrong(self, run: Run) -> str:
        b = run.case["b"]
        slack = _ENOUGH if "tol" not in run.bound else max(1e-6, _DIGITS * run.unit)
        found = [r for r in (*run.returned, run.after.get("x", b[:0])) if r.size == b.size]
        if not found:
            return "it neither returns nor writes a solution"
        left = [float(np.linalg.norm(csr_product(run.case, x.reshape(-1)) - b) / np.linalg.norm(b)) for x in found]
        if any(rest <= slack for rest in left):
            return ""
        return f"its solution leaves {min(left):.2g} of the right-hand side"


def _definite(rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
    """Rows, columns and values of a random sparse matrix that is symmetric, with a diagonal that dominates."""
    upper = np.unique(np.sort(rng.integers(0, n, (4 * n, 2)), axis=1), axis=0)
    upper = upper[upper[:, 0] < upper[:, 1]]
    values = rng.standard_normal(len(upper))
    sums = rng.uniform(0.5, 1.5, n)
    np.add.at(sums, upper.reshape(-1), np.repeat(np.abs(values), 2))
    rows = np.concatenate([upper[:, 0], upper[:, 1], np.arange(n)])
    columns = np.concatenate([upper[:, 1], upper[:, 0], np.arange(n)])
    order = np.lexsort((columns, rows))
    return rows[order], columns[order], np.concatenate([values, values, sums])[order]


__all__ = ["Cg", "Jacobi"]
