"""Reductions over pairs as candidates: the source with its launch plan, for a box of sizes."""

from __future__ import annotations

import torch

from ...targets.plan import WORKSPACE, Candidate, EntryCall, InputSpec, Plan, SizeText, SymbolSpec, TensorSpec
from ._blocked import Reduction
from ._source import names, source

MOST_POINTS = 2048  # on each side of one call; more are cut into several
MOST_DEPTH = 1024
MOST_VALUES = 64  # right-hand sides
MOST_BEST = 64  # of the largest or smallest
_HELD = 384 << 10  # as in kw/pairwise.h
_CPP = {torch.float32: "float", torch.float64: "double"}


def has_kernel(reduction: Reduction) -> bool:
    """Whether there is a kernel for it: formulas with points, and not too many of the largest."""
    return reduction.program.sets > 0 and reduction.k <= MOST_BEST


def sizes(reduction: Reduction) -> tuple[SymbolSpec, ...]:
    """What a kernel's box is made of: rows, columns, coordinates of each set, right-hand sides."""
    program = reduction.program
    made = [SymbolSpec("n", 0, 0, 1, MOST_POINTS), SymbolSpec("m", 1, 0, reduction.k, MOST_POINTS)]
    made += [SymbolSpec(f"d{slot}", 2 * slot, 1, 1, MOST_DEPTH) for slot in range(program.sets)]
    if reduction.kind == "sum":
        made.append(SymbolSpec("r", names(reduction).index("v"), 1, 1, MOST_VALUES))
    return tuple(made)


def candidate(reduction: Reduction, dtype: torch.dtype) -> Candidate:
    """The reduction as C++ with its launch plan."""
    listed = names(reduction)
    results = [name for name in listed if name in ("out", "back", "places")]
    specs = {name: _spec(reduction, name, dtype) for name in listed}
    threads = torch.get_num_threads()
    plan = Plan(
        inputs=tuple(InputSpec(("arg", at), specs[name]) for at, name in enumerate(listed) if name not in results),
        buffers=tuple(specs[name] for name in results),
        steps=(EntryCall("reduce", (*listed, WORKSPACE)),),
        results=tuple(results),
        treespec=None if len(results) == 1 else _PAIR,
        symbols=sizes(reduction),
        workspace=_workspace(reduction, dtype, threads),
    )
    label = f"pairwise/{reduction.kind}"
    return Candidate("cpu", "kernels/pairwise", source(reduction, _CPP[dtype], threads), plan, label=label)


_PAIR = torch.utils._pytree.treespec_dumps(torch.utils._pytree.tree_structure((0, 0)))


def _spec(reduction: Reduction, name: str, dtype: torch.dtype) -> TensorSpec:
    k = reduction.k
    shape: tuple[SizeText, ...]
    if name[0] in "xz":
        shape = ("n" if name[0] == "x" else "m", f"d{name[1:]}")
    elif name.startswith(("row", "col")):
        shape = ("n" if name.startswith("row") else "m",)
    elif name == "params":
        shape = (reduction.program.params,)
    elif name in ("v", "u", "back"):
        shape = ("n" if name == "u" else "m", "r" if reduction.kind == "sum" else 1)
    else:
        results: dict[str, tuple[SizeText, ...]] = {
            "sum": ("n", "r"),
            "both": ("n", 1),
            "logsumexp": ("n",),
            "dense": ("n", "m"),
        }
        shape = results.get(reduction.kind, ("n", k))
    strides: tuple[SizeText, ...] = (1,) if len(shape) == 1 else (shape[1], 1)
    return TensorSpec(name, shape, "int64" if name == "places" else str(dtype).removeprefix("torch."), strides)


def _workspace(reduction: Reduction, dtype: torch.dtype, threads: int) -> str:
    """Bytes of packed points and of what threads keep for a group (``run`` in kw/pairwise.h)."""
    program, size = reduction.program, dtype.itemsize
    depth = "+".join(f"d{slot}" for slot in range(program.sets))
    values = max(program.rows, program.cols) + program.sets
    kept = {"sum": "r*32", "both": "32", "logsumexp": "64", "dense": "0"}.get(reduction.kind, str(64 * reduction.k))
    packed = "n" if reduction.kind == "dense" else "m"
    points = f"({packed}+16)*({depth}+{program.sets})*{size}+{128 * program.sets}"
    partial = f"m*{16 * size}" if reduction.kind == "both" else "0"
    return f"{points}+{threads}*({_HELD}+(({depth}+{values})*32+{kept})*{size}+256+{partial})+64"
