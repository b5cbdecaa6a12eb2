"""Is a piece of code right? Finds its function, adapts its signature, and compares what it computes with the kernel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import _cpp, _fortran, _python
from ._blas import Axpy, Gemm, Gemv, Spmv
from ._box import Answer, Argument, Box, Failed, Program
from ._extract import Code
from ._models import Model
from ._problem import Array, Case, Problem, Run, Variant
from ._roles import Parameter, bind
from ._solvers import Cg, Jacobi

PROBLEMS: dict[str, Problem] = {
    "axpy": Axpy(), "gemv": Gemv(), "gemm": Gemm(), "spmv": Spmv(), "jacobi": Jacobi(), "cg": Cg(),
}  # fmt: skip
_NAMES = {
    "axpy": r"axpy",
    "gemv": r"gemv|matvec|mat\w*vec|mv",
    "gemm": r"gemm|mat\w*mul|mm|mat\w*mat",
    "spmv": r"sp\w*mv|csr|mat\w*vec",
    "jacobi": r"jacobi|stencil|sweep",
    "cg": r"cg|conj|gradient",
}
_CROWD = (1, 2, 4, 8, 4)  # threads of the calls on the largest case: more than cores, where races show
_PARALLEL = ("OpenMP", "threads", "Numba")  # models whose threads can be seen


_Callable = _cpp.Function | _fortran.Subroutine | _python.Def
_FINDERS: dict[str, Callable[[str], Sequence[_Callable] | str]] = {
    "cpp": _cpp.functions,
    "fortran": _fortran.subroutines,
    "python": _python.defs,
}


@dataclass(frozen=True)
class Found:
    """A function that may be it: its program, and what each of its parameters is."""

    program: Program
    parameters: tuple[Parameter, ...]
    roles: tuple[str, ...]
    dtypes: tuple[str, ...]
    single: bool


@dataclass(frozen=True)
class Tried:
    """``right``, or why not; ``threads``: whether it was seen to start any. ``host``: made for a device, run here."""

    right: bool
    reason: str = ""
    threads: bool = True
    signature: str = ""


def try_code(code: Code, kernel: str, model: Model, box: Box, seed: int = 0) -> Tried:
    """Build and run one suggestion. Raises ``WallsMissing``."""
    box.clear()
    problem = PROBLEMS[kernel]
    try:
        found = _find(code, kernel, problem, model, box)
    except Failed as failed:
        return Tried(False, f"it {failed}")
    if isinstance(found, str):
        return Tried(False, found)
    signature = ", ".join(role or "-" for role in found.roles)
    said = ""
    for variant in _variants(problem, found):
        wrong, threads = _run_all(problem, found, variant, box, seed)
        if not wrong:
            seen = threads or model.name not in _PARALLEL
            return Tried(True, "" if seen else "no thread was seen to start", seen, signature)
        said = said or wrong
    return Tried(False, said, signature=signature)


# ── which function ──


def _find(code: Code, kernel: str, problem: Problem, model: Model, box: Box) -> Found | str:
    """The function that has the kernel's name, else the last one whose parameters make sense."""
    listed = _FINDERS[code.language](code.text)
    if isinstance(listed, str):
        return listed
    if not listed:
        return "it defines no function that could be called"
    named = [f for f in listed if re.search(_NAMES[kernel], f.name, re.IGNORECASE)]
    rest = [f for f in listed if f not in named]
    needed = set[str]().union(*problem.needs)
    said = ""
    for function in [*reversed(named), *reversed(rest)]:
        roles = bind(function.parameters, problem.roles, needed)
        why = roles if isinstance(roles, str) else problem.missing(frozenset(roles))
        if not why:
            return _build(code, function, tuple(roles), model, box)
        said = said or f"the function {function.name!r} cannot be called, since {why}"
    return said


def _build(code: Code, function: _Callable, roles: tuple[str, ...], model: Model, box: Box) -> Found:
    if isinstance(function, _cpp.Function):
        path = box.build_cpp(_cpp.harness(code.text, function), model)
        dtypes = tuple("int64" if p.base == "int" else "float64" for p in function.parameters)
        return Found(Program("cpp", path), function.parameters, roles, dtypes, function.single)
    if isinstance(function, _fortran.Subroutine):
        path = box.build_fortran(_fortran.harness(code.text, function), model)
        return Found(Program("fortran", path), function.parameters, roles, function.dtypes, function.single)
    kept = [(p, role) for p, role in zip(function.parameters, roles, strict=True) if role]
    source = _python.without_main(code.text)
    first = next((i for i, role in enumerate(roles) if not role), len(roles))
    runtime = model.name.lower() if model.name in ("Numba", "Triton") else ""
    program = Program("python", source=source, name=function.name, runtime=runtime, first=first)
    return Found(program, tuple(p for p, _ in kept), tuple(r for _, r in kept), (), function.single)


# ── how it is called ──


def _variants(problem: Problem, found: Found) -> Iterator[Variant]:
    """What the signature leaves open, the usual first."""
    fortran, python = found.program.form == "fortran", found.program.form == "python"
    flat = any(p.rank == 1 and r in ("A", "B", "C", "u") for p, r in zip(found.parameters, found.roles, strict=True))
    layouts = [x for x in problem.layouts if x == "C" or flat]
    bases = [x for x in problem.bases if x == 0 or "row_ptr" in found.roles]
    halos = [x for x in problem.halos if not x or {"nx", "ny", "nz"} & set(found.roles)]
    if fortran:
        layouts, bases = layouts[::-1], bases[::-1]
    dtypes = ("float64", "float32") if python and found.single else ("float64",)
    for dtype in ("float32",) if found.program.runtime == "triton" else dtypes:
        for halo in halos:
            for base in bases:
                yield from (Variant(layout, base, halo, dtype) for layout in layouts)


def _run_all(problem: Problem, found: Found, variant: Variant, box: Box, seed: int) -> tuple[str, bool]:
    """Why it is wrong in this variant ("": it is right), and whether threads were seen."""
    rng, bound = np.random.default_rng(seed), frozenset(found.roles)
    threads = False
    cases = list(problem.cases(rng, bound))
    for case in cases:
        for count in _CROWD if case is cases[-1] else (2,):
            answer, wrong = _run_one(problem, found, variant, box, case, count)
            threads = threads or (answer is not None and answer.threads > 0)
            if wrong:
                return f"{wrong} (with {_sizes(case)})", threads
    return "", threads


def _run_one(
    problem: Problem, found: Found, variant: Variant, box: Box, case: Case, threads: int
) -> tuple[Answer | None, str]:
    single = found.single or variant.dtype == "float32"
    if single:
        case = {k: v.astype(np.float32).astype(np.float64) if _is_real(v) else v for k, v in case.items()}
    given = problem.arguments(
        case, Variant(variant.layout, variant.base, variant.halo, "float32" if single else "float64")
    )
    arguments = list(_arguments(found, given, variant))
    expected = max(np.size(case[name]) for name in ("y", "C", "next", "x") if name in case)
    try:
        answer = box.call(found.program, arguments, threads=threads, expected=expected)
    except Failed as failed:
        return None, f"it {failed}"
    after = dict(_after(found, arguments, answer, given, variant))
    unit = float(np.finfo(np.float32 if single else np.float64).eps)
    return answer, problem.judge(Run(given, after, answer.returned, unit, frozenset(found.roles)))


def _arguments(found: Found, given: Case, variant: Variant) -> Iterator[Argument]:
    for index, (parameter, role) in enumerate(zip(found.parameters, found.roles, strict=True)):
        value = given[role]
        dtype = found.dtypes[index] if found.dtypes else _python_dtype(value, variant)
        array = np.asarray(value)
        order = _order(found, parameter, array, variant)
        shape = (array.size,) if parameter.rank == 1 else array.shape
        yield Argument(parameter.name, np.ravel(array, order=order).astype(dtype), shape)


def _after(
    found: Found, arguments: Sequence[Argument], answer: Answer, given: Case, variant: Variant
) -> Iterator[tuple[str, Array]]:
    """What array parameters hold after the call, as the case has them."""
    for parameter, role, left in zip(found.parameters, found.roles, answer.after, strict=True):
        array = np.asarray(given[role])
        if array.ndim and left.size == array.size:
            kind = np.int64 if array.dtype == np.int64 else np.float64
            yield role, left.reshape(array.shape, order=_order(found, parameter, array, variant)).astype(kind)


def _order(found: Found, parameter: Parameter, array: Array, variant: Variant) -> Literal["C", "F"]:
    if array.ndim < 2:
        return "C"
    if found.program.form == "fortran" and parameter.rank != 1:
        return "F"
    return "F" if parameter.rank == 1 and variant.layout == "F" else "C"


def _python_dtype(value: object, variant: Variant) -> str:
    if isinstance(value, np.ndarray):
        return variant.dtype if value.dtype == np.float64 else "int64"
    return "int64" if isinstance(value, int) else "float64"


def _is_real(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float64


def _sizes(case: Case) -> str:
    names = ("n", "m", "k", "cols", "nx", "ny", "nz")
    return ", ".join(f"{name} = {case[name]}" for name in names if name in case)


__all__ = ["PROBLEMS", "Tried", "try_code"]
