"""AXPY, GEMV, GEMM and SpMV: their arguments, cases to try, and what is right, in plain float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._problem import Array, Case, Problem, Run
from ._roles import Role

_COUNT = r"n|len|length|size|count|num|nelem|nelements|elements|numelements|veclen|dim|total"
_OUT = r"z|out|output|res|result|r|c|ret|w|ans"
_STRIDES = (
    Role("incx", "int", (0,), "incx|stridex|xinc|sx", place=False),
    Role("incy", "int", (0,), "incy|stridey|yinc|sy", place=False),
)
_ALPHA = Role("alpha", "real", (0,), "alpha|a|scale|s")
_BETA = Role("beta", "real", (0,), "beta|b")
_WIDTHS = tuple(Role(f"ld{x}", "int", (0,), f"ld{x}|{x}ld|lead{x}|stride{x}", place=False) for x in "abc")


class Axpy(Problem):
    """y ← a·x + y, in place, returned, or into a third array."""

    roles = (
        Role("n", "int", (0,), _COUNT),
        Role("a", "real", (0,), "a|alpha|da|sa|scalar|scale|scaling|factor|constant|s|k"),
        Role("x", "real", (1,), "x|sx|dx|a|vecx|vx|xs"),
        Role("y", "real", (1,), "y|sy|dy|b|vecy|vy|ys"),
        Role("out", "real", (1,), _OUT),
        *_STRIDES,
    )
    needs = ({"a", "x", "y"},)
    constants = frozenset({"x"})

    def cases(self, rng: np.random.Generator, bound: frozenset[str]) -> Iterator[Case]:
        for n in (17, 1, 2, 1000, 100_003):
            x, y = rng.standard_normal(n), rng.standard_normal(n)
            yield {"n": n, "a": float(np.float32(rng.uniform(0.5, 2))), "x": x, "y": y, "out": np.zeros(n)} | _UNIT

    def wrong(self, run: Run) -> str:
        a, x, y = run.case["a"], run.case["x"], run.case["y"]
        bound = 4 * run.unit * (abs(a * x) + abs(y))
        return run.some(("out", "y"), a * x + y, bound)


class Gemv(Problem):
    """y ← A·x; with α and β y ← α·A·x + β·y; what adds to y is right as well (α = β = 1)."""

    roles = (
        Role("m", "int", (0,), "m|rows?|nrows?|numrows?|rowcount|height"),
        Role("n", "int", (0,), f"cols?|ncols?|numcols?|colcount|columns?|width|{_COUNT}"),
        Role("A", "real", (1, 2), "a|mat|matrix|m|amatrix|mata"),
        Role("x", "real", (1,), "x|v|vec|vector|b|vecx|vx"),
        Role("y", "real", (1,), f"y|vecy|vy|{_OUT}"),
        _ALPHA,
        _BETA,
        _WIDTHS[0],
        *_STRIDES,
    )
    needs = ({"A", "x"},)
    constants = frozenset({"A", "x"})
    layouts = ("C", "F")

    def cases(self, rng: np.random.Generator, bound: frozenset[str]) -> Iterator[Case]:
        shapes = [(7, 5), (1, 1), (1, 9), (33, 17), (257, 129), (300, 301)]
        if {"m", "n"} & bound and not {"m", "n"} <= bound:  # one size: the matrix is square
            shapes = [(s, s) for s in (7, 1, 2, 33, 130, 300)]
        for m, n in shapes:
            case = {"m": m, "n": n, "A": rng.standard_normal((m, n)), "x": rng.standard_normal(n)}
            case |= {"y": rng.standard_normal(m), "alpha": 1.25, "beta": 0.5, **_UNIT}
            yield case | {"lda": n}

    def wrong(self, run: Run) -> str:
        case = run.case
        return run.combined("y", case["A"] @ case["x"], abs(case["A"]) @ abs(case["x"]), case["A"].shape[1])


class Gemm(Problem):
    """C ← A·B; with α and β C ← α·A·B + β·C; what adds to C is right as well."""

    roles = (
        Role("m", "int", (0,), "m|rows?a|arows?|nrows?a|rows|nrows|numrowsa|rows?"),
        Role("k", "int", (0,), "k|cols?a|acols?|rows?b|brows?|inner|common|p|kk|ncols?a"),
        Role("n", "int", (0,), f"cols?b|bcols?|ncols?b|cols?|ncols|columns|{_COUNT}"),
        Role("A", "real", (1, 2), "a|mata|matrixa|amat|ma|left|x"),
        Role("B", "real", (1, 2), "b|matb|matrixb|bmat|mb|right|y"),
        Role("C", "real", (1, 2), f"c|matc|matrixc|cmat|mc|{_OUT}"),
        _ALPHA,
        _BETA,
        *_WIDTHS,
    )
    needs = ({"A", "B"},)
    constants = frozenset({"A", "B"})
    layouts = ("C", "F")

    def cases(self, rng: np.random.Generator, bound: frozenset[str]) -> Iterator[Case]:
        shapes = [(5, 7, 3), (1, 1, 1), (1, 8, 3), (33, 17, 20), (64, 65, 66), (131, 133, 137)]
        given = {"m", "n", "k"} & bound
        if given and len(given) < 3:
            shapes = [(s, s, s) for s in (5, 1, 2, 33, 64, 133)]
        for m, n, k in shapes:
            case = {"m": m, "n": n, "k": k, "A": rng.standard_normal((m, k)), "B": rng.standard_normal((k, n))}
            case |= {"C": rng.standard_normal((m, n)), "alpha": 1.25, "beta": 0.5}
            yield case | {"lda": k, "ldb": n, "ldc": n}

    def widths(self, case: Case) -> dict[str, int]:
        return {"lda": case["m"], "ldb": case["k"], "ldc": case["m"]}

    def wrong(self, run: Run) -> str:
        A, B = run.case["A"], run.case["B"]
        return run.combined("C", A @ B, abs(A) @ abs(B), A.shape[1])


# Names of the three arrays of a matrix in CSR form.
CSR_ROLES = (
    Role("row_ptr", "int", (1,), r"\w*(rowp|rowo|rowst|rowi|ptr|offsets?|rows?)\w*|ia|ap|ai|rp"),
    Role("col_idx", "int", (1,), r"\w*(col|ind|idx)\w*|ja|aj|ac|ci"),
    Role("val", "real", (1,), r"\w*(val|data|nz|nonzero)\w*|a|aa|ax|av|v|mat|matrix|elements"),
)


class Spmv(Problem):
    """y ← A·x, A in CSR form, with empty rows and rows of very different lengths."""

    roles = (
        Role("nnz", "int", (0,), "nnz|numnonzeros?|nonzeros?|numvals?|nval", place=False),
        Role("m", "int", (0,), f"m|rows?|nrows?|numrows?|num|{_COUNT}"),
        Role("cols", "int", (0,), r"k|cols?|ncols?|numcols?|columns?|n"),
        *CSR_ROLES,
        Role("x", "real", (1,), "x|vec|vector|b|v|vecx|input"),
        Role("y", "real", (1,), f"y|vecy|{_OUT}"),
        _ALPHA,
        _BETA,
    )
    needs = ({"row_ptr", "col_idx", "val", "x"},)
    constants = frozenset({"row_ptr", "col_idx", "val", "x"})
    bases = (0, 1)

    def cases(self, rng: np.random.Generator, bound: frozenset[str]) -> Iterator[Case]:
        oblong = ((9, 31),) if "cols" in bound else ()  # one size may be of rows and of columns for all we know
        for m, n in ((17, 17), (1, 1), (2, 2), *oblong, (100, 100), (20_011, 20_011)):
            lengths = np.minimum(n, rng.geometric(0.25, m))
            lengths[rng.integers(0, m, max(1, m // 9))] = 0 if m > 1 else 1
            lengths[-1] = max(1, n // 2)
            yield csr_case(rng, m, n, lengths) | {"x": rng.standard_normal(n), "y": rng.standard_normal(m)}

    def wrong(self, run: Run) -> str:
        case = run.case
        magnitude = csr_product(case | {"val": abs(case["val"])}, abs(case["x"]))
        return run.combined("y", csr_product(case, case["x"]), magnitude, int(np.max(np.diff(case["row_ptr"]))))


def csr_case(rng: np.random.Generator, m: int, n: int, lengths: Array) -> Case:
    """A random matrix with about so many elements in each row: those that fall together are one."""
    columns = [np.unique(rng.integers(0, n, int(count))) for count in lengths]
    col_idx = np.concatenate(columns).astype(np.int64)
    case: Case = {"m": m, "cols": n, "nnz": len(col_idx), "alpha": 1.25, "beta": 0.5}
    return case | {
        "row_ptr": np.concatenate([[0], np.cumsum([len(each) for each in columns])]).astype(np.int64),
        "col_idx": col_idx,
        "val": rng.standard_normal(len(col_idx)),
    }


def csr_product(case: Case, x: Array) -> Array:
    """A·x for the matrix of a case, whatever its first index is called."""
    counts, base = np.diff(case["row_ptr"]), int(case["row_ptr"][0])
    y = np.zeros(len(counts))
    np.add.at(y, np.repeat(np.arange(len(counts)), counts), case["val"] * x[case["col_idx"] - base])
    return y


_UNIT = {"incx": 1, "incy": 1}
__all__ = ["CSR_ROLES", "Axpy", "Gemm", "Gemv", "Spmv", "csr_case", "csr_product"]
