"""The end of a contraction: walks a finished tile in the result's own axes, applies the epilogue and stores.

Neighbouring axes that the epilogue and the store see only as one run of memory are merged first, so that a tile that
crosses an image row is still stored in whole vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from ..contraction import flat_index
from ..program import Acc, Axis, Expr, FloorDiv, Index, Iota, Load, Mod, Op, Program, Reduce, Size, Store, Value
from ._indices import flatten, size_text, static
from .printer import Printer

_LONG = frozenset((
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "sigmoid", "pow",
))  # fmt: skip  # operations that print as tens of instructions

Groups = dict[str, tuple[Axis, ...]]  # part ("batch", "m", "n") -> its axes, outermost first


@dataclass(frozen=True)
class Ending:
    """An epilogue and its store over (possibly merged) axes by part, in the program that holds their tensors."""

    program: Program
    groups: Groups
    store: Store
    epilogue: Expr


def ending(program: Program, reduce: Reduce, groups: Mapping[str, tuple[Axis, ...]]) -> Ending:
    """Drop axes of size one and merge what can be merged."""
    ones = {x.name: Index.const(0) for part in groups.values() for x in part if x.size == 1}
    kept: Groups = {part: tuple(x for x in axes if x.size != 1) for part, axes in groups.items()}
    store = Store(reduce.store.tensor, tuple(i.substitute(ones) for i in reduce.store.index))
    plain = Ending(program, kept, store, reduce.epilogue.substitute(ones) if ones else reduce.epilogue)
    flat = _flattened(plain)
    if flat is None:
        return plain
    for part in kept:
        flat = _merged(flat, part)
    return flat


def run_code(end: Ending, lane: str, dtype: str, tile: str, count: str | None) -> list[str]:
    """Finish sixteen lanes (or ``count`` of them) starting at the variable ``lane``; ``tile`` points at their sums."""
    printer = Printer(end.program, lane=lane, count=count, acc="acc_", ranges=_ranges(end, lane))
    value = printer.temp(end.epilogue)
    printer.store(end.store, value, value.dtype)
    # With several runs in a row of the tile the last begins anywhere: a whole vector would reach beyond the tile.
    read = f"kw::load({tile}, {count})" if count and len(end.groups["n"]) > 1 else f"kw::load({tile})"
    return [f"const auto acc_ = {_acc_text(end, dtype, read)};", *printer.lines]


def one_code(end: Ending, dtype: str, sum_: str) -> list[str]:
    """Finish one element whose sum is the C++ expression ``sum_``; all axes are variables."""
    printer = Printer(end.program, lane=None, acc="acc_", ranges=_ranges(end, ""))
    value = printer.temp(end.epilogue)
    printer.store(end.store, value, value.dtype)
    return [f"const auto acc_ = {_acc_text(end, dtype, sum_, vector=False)};", *printer.lines]


def split_code(start: str, axes: tuple[Axis, ...], *, mutable: bool = False) -> list[str]:
    """Variables of fused axes from their fused coordinate."""
    const = "" if mutable else "const "
    lines, rest = [], start
    for axis in reversed(axes[1:]):
        lines.append(f"{const}int64_t {axis.name} = ({rest}) % {size_text(axis.size)};")
        rest = f"({rest}) / {size_text(axis.size)}"
    if axes:
        lines.append(f"{const}int64_t {axes[0].name} = {rest};")
    return lines


def finish_code(end: Ending, dtype: str, tile_width: str, *, blocked: bool = False) -> list[str]:
    """The lambda ``finish_(batch, tile, m, rows, n, columns)`` that the drivers of ``kw/gemm.h`` call.

    ``blocked``: tiles begin at whole vectors of columns."""
    ctype = "float" if dtype == "float32" else "double"
    n = end.groups["n"]
    lane = n[-1].name if n else "lane_"
    lines = [
        f"auto finish_ = [&](int64_t batch_, const {ctype}* tile_, int64_t m_, int rows_, int64_t n_, int columns_) {{",
        *split_code("batch_", end.groups["batch"]),
        "for (int i_ = 0; i_ < rows_; ++i_) {",
        *split_code("m_ + i_", end.groups["m"]),
        f"const {ctype}* at_ = tile_ + i_ * {tile_width};",
    ]
    if not n:
        lines += [*one_code(end, dtype, "at_[0]")]
    elif len(n) == 1:
        even = blocked and (size := static(n[0].size)) is not None and size % 16 == 0
        lines += [f"int64_t {lane} = n_, end_ = n_ + columns_;", *_lanes(end, lane, dtype, even)]
    else:
        lines += [
            *split_code("n_", n, mutable=True),
            "for (int left_ = columns_;;) {",
            f"const int64_t run_ = kw::min<int64_t>(left_, {size_text(n[-1].size)} - {lane}), end_ = {lane} + run_;",
            *_lanes(end, lane, dtype),
            "left_ -= run_;",
            "if (left_ <= 0) break;",
            f"{lane} = 0;",
            *_carry(n[:-1]),
            "}",
        ]
    return [*lines, "}", "};"]


def _lanes(end: Ending, lane: str, dtype: str, even: bool = False) -> list[str]:
    """Whole vectors, then (unless all are whole: ``even``) the rest; one masked loop for both where the epilogue is too
    long to be compiled twice."""
    whole = [
        f"for (; {lane} + kw::W <= end_; {lane} += kw::W, at_ += kw::W) {{",
        *run_code(end, lane, dtype, "at_", None),
        "}",
    ]
    if even:
        return whole
    if sum(1 for node in end.epilogue.walk() if isinstance(node, Op) and node.name in _LONG):
        return [
            f"for (; {lane} < end_; {lane} += kw::W) {{",
            f"const int count_ = static_cast<int>(kw::min<int64_t>(kw::W, end_ - {lane}));",
            *run_code(end, lane, dtype, "at_", "count_"),
            "at_ += count_;",
            "}",
        ]
    return [
        *whole,
        f"if ({lane} < end_) {{",
        f"const int count_ = static_cast<int>(end_ - {lane});",
        *run_code(end, lane, dtype, "at_", "count_"),
        "at_ += count_;",
        "}",
    ]


def _carry(axes: tuple[Axis, ...]) -> list[str]:
    """Count the outer axes one up."""
    lines: list[str] = []
    for number, axis in enumerate(reversed(axes)):
        if number == len(axes) - 1:
            lines.append(f"++{axis.name};")
        else:
            lines.append(f"if (++{axis.name} == {size_text(axis.size)}) {{ {axis.name} = 0;")
    return [*lines, "}" * (len(axes) - 1)] if len(axes) > 1 else lines


def _acc_text(end: Ending, dtype: str, text: str, *, vector: bool = True) -> str:
    """The accumulator in the dtype the epilogue expects."""
    wanted = next((node.dtype for node in end.epilogue.walk() if isinstance(node, Acc)), dtype)
    if wanted == dtype:
        return text
    kinds = {"float32": ("float", "kw::vf"), "float64": ("double", "kw::vd")}
    return f"kw::to<{kinds[wanted][vector]}>({text})"


def _ranges(end: Ending, lane: str) -> dict[str, tuple[int, int]]:
    axes = [x for part in end.groups.values() for x in part if x.name != lane]
    return {x.name: (0, size - 1) for x in axes if (size := static(x.size)) is not None}


# ── merging ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _flattened(end: Ending) -> Ending | None:
    """The same ending over one-dimensional tensors, or None where an index is more than an offset."""
    loads = [node for node in end.epilogue.walk() if isinstance(node, Load)]
    if any(load.fill is not None for load in loads):
        return None
    names = {end.store.tensor, *(load.tensor for load in loads)}
    tensors = dict(end.program.tensors)
    for name in names:
        tensors[name] = replace(tensors[name], shape=(0,), strides=(1,))

    def rewrite(node: Expr) -> Expr | None:
        return replace(node, index=(flat_index(end.program, node),)) if isinstance(node, Load) else None

    place = flatten(end.program.tensors[end.store.tensor], end.store.index)
    program = replace(end.program, tensors=tensors)
    return Ending(program, end.groups, Store(end.store.tensor, (place,)), end.epilogue.map(rewrite))


def _merged(end: Ending, part: str) -> Ending:
    axes = end.groups[part]
    for outer, inner in pairwise(axes):
        indices = list(_all_indices(end))
        if all(_is_run(index, outer.name, inner.name, inner.size) for index in indices):
            both = Axis(f"{outer.name}_{inner.name}", outer.size * inner.size)
            at = axes.index(outer)
            groups = {**end.groups, part: (*axes[:at], both, *axes[at + 2 :])}
            bindings = {outer.name: Index.const(0), inner.name: Index.axis(both.name)}
            store = Store(end.store.tensor, tuple(i.substitute(bindings) for i in end.store.index))
            return _merged(Ending(end.program, groups, store, end.epilogue.substitute(bindings)), part)
    return end


def _all_indices(end: Ending) -> Iterable[Index]:
    yield from end.store.index
    for node in end.epilogue.walk():
        if isinstance(node, Load):
            yield from node.index
        elif isinstance(node, Iota):
            yield node.index


def _is_run(index: Index, outer: str, inner: str, size: Size) -> bool:
    """Whether an index sees two axes only as ``outer * size + inner``."""
    for term, _ in index.terms:
        if isinstance(term, FloorDiv | Mod) and {outer, inner} & term.index.axes():
            return False
        if isinstance(term, Value) and {outer, inner} & term.expr.axes():
            return False
    return index.coefficient(outer) == index.coefficient(inner) * size
