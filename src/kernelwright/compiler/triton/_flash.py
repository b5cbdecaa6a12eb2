"""The tiles of an attention: where they lie, what bounds them, and which keys a tile of rows sees at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..attention import Attention
from ..contraction import flat_index, product
from ..cpp._indices import static
from ..group import root
from ..program import Expr, Index, Load, Program, Reduce, Size
from ._between import Between, between
from ._kernel import KernelText, tiles
from ._printer import NONE, Printer
from ._schedule import power
from ._sizes import size_text, wide
from ._text import Body, wrapped

BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}
_LEAST = 16  # the least side of a tile that the matrix units multiply
_RESERVED = ("tl", "libdevice", "BM", "BN", "DEPTH", "WIDTH", "CHUNKS", "spoiled_ptr", "start", "program")


@dataclass(frozen=True)
class AttentionSchedule:
    """``bm`` query rows against ``bn`` keys at a time, by so many warps, with so many loads on their way.

    ``precision`` is that of products of float32: "ieee", or "tf32" and "tf32x3" on the matrix units.
    """

    bm: int
    bn: int
    warps: int = 4
    stages: int = 3
    precision: str = "ieee"


def operand_kind(program: Program, a: Load, b: Load, dtype: str) -> str:
    """The dtype in which two tensors are multiplied: their own where both have it, else that of the sum."""
    kinds = {program.tensors[load.tensor].dtype for load in (a, b)}
    return kinds.pop() if len(kinds) == 1 and dtype == "float32" else dtype


def tile_side(size: int) -> int:
    """A side of a tile that covers a size."""
    return max(_LEAST, power(size))


def sides(match: Attention) -> tuple[int, int]:
    """Lengths of a tile along the depth of the first product, and along the width of the result."""
    return tile_side(static(match.depth.size) or 1), tile_side(static(match.width.size) or 1)


@dataclass
class Flash:
    """One match while its kernels are printed."""

    program: Program
    match: Attention
    schedule: AttentionSchedule
    helpers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        m = self.match
        self.made: Between = between(self.program, m)
        self.depth, self.width = sides(m)
        self.outer = product(a.size for a in m.outer)
        self.numbers = [s.name for s in self.program.symbols]
        inside = {root(self.program, n) for n in (*m.panels, *m.rows)}
        exprs: list[Expr] = [m.q, m.k, m.v, m.scores, m.result.epilogue]
        for stage in m.stages:
            exprs += [stage.value, *([stage.epilogue] if isinstance(stage, Reduce) else [])]
        read = [root(self.program, n.tensor) for e in exprs for n in e.walk() if isinstance(n, Load)]
        written = [root(self.program, n) for n in (m.result.store.tensor, *m.kept)]
        self.touched = tuple(dict.fromkeys([*(n for n in read if n not in inside), *written]))
        self.wide = wide(self.program, self.touched)
        keys = static(m.key.size)
        self.skips = self.made.mask is not None and (keys is None or keys > self.schedule.bn)

    @property
    def chunks(self) -> str:
        """Tiles of keys, each of which has a flag: are its values finite?"""
        return tiles(self.match.key.size, self.schedule.bn)

    @property
    def flags(self) -> Size:
        """Flags at most."""
        return self.outer * (int(self.chunks) if self.chunks.isdigit() else self.match.key.size)

    # ── kernels ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def finite(self, name: str) -> KernelText | None:
        """Finds the tiles of keys whose values are not finite."""
        if not self.skips:
            return None
        body, m, s = Body(), self.match, self.schedule
        chunks = inside_kernel(self.chunks)
        printer = self.begin(body, f"program // {chunks}")
        self.lanes(body, "keys", "BN", "[:, None]", f"program % {chunks} * BN")
        self.lanes(body, "columns", "WIDTH", "[None, :]")
        inside = [("keys", m.key.size, s.bn), ("columns", m.width.size, self.width)]
        value = self.load(body, printer, m.v, {"keys": m.key.name, "columns": m.width.name}, inside, "float32")
        bad = f"tl.max(tl.max(({value} - {value} != 0.0).to(tl.int32), 1), 0)"
        body.effect(f"tl.store(spoiled_ptr + program, {bad})")
        tensors = [root(self.program, m.v.tensor), "spoiled"]
        grid = times(size_text(self.outer), self.chunks)
        return self.text(name, body, tensors, {"BN": s.bn, "WIDTH": self.width}, grid, "num_warps=4")

    # ── parts of a kernel ────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, body: Body, outer: str) -> Printer:
        """The program's number and the outer axes that follow from it."""
        names = {f"{root(self.program, n)}_ptr" for n in self.touched}
        for name in (*_RESERVED, *self.numbers, *names):
            body.reserve(name)
        body.define("program", f"tl.program_id(0){self.wider}")
        axes: dict[str, tuple[str, frozenset[str]]] = {}
        all_axes = (*self.match.outer, self.match.row, self.match.key, self.match.width)
        ranges = {a.name: (0, n - 1) for a in all_axes if (n := static(a.size))}
        if self.match.outer:
            body.define(body.name("outer"), outer, tight=False)
        for position, axis in enumerate(self.match.outer):
            step = size_text(product(a.size for a in self.match.outer[position + 1 :]))
            text = "outer" if step == "1" else f"outer // {step}"
            text += f" % {size_text(axis.size)}" if position else ""
            name = text if text == "outer" else body.define(body.name(axis.name), text, tight=False)
            axes[axis.name] = (name, NONE)
        return Printer(self.made.program, body, axes, {}, ranges, self.helpers)

    def lanes(self, body: Body, name: str, block: str, side: str, start: str = "") -> None:
        text = f"tl.arange(0, {block}){side}{self.wider}"
        body.define(body.name(name), f"{start} + {text}" if start else text, tight=not start)

    def load(
        self,
        body: Body,
        printer: Printer,
        load: Load,
        lanes: dict[str, str],
        inside: Sequence[tuple[str, Size, int]],
        kind: str,
    ) -> str:
        """A tile of an operand: ``lanes`` gives the axis of each variable, ``inside`` size and tile along each."""
        flat = flat_index(self.program, load)
        terms = []
        for variable, axis in lanes.items():
            step = flat.coefficient(axis)
            flat = flat - Index.axis(axis) * step
            factor = size_text(step)
            terms.append(variable if factor == "1" else f"{variable} * {factor}")
        base, _ = printer.index(flat)
        address = " + ".join([printer.pointer(load.tensor), *([base] if base != "0" else []), *terms])
        masks = [f"({name} < {size_text(size)})" for name, size, block in inside if not whole(size, block)]
        mask = f", mask={' & '.join(masks)}, other=0.0" if masks else ""
        text = f"tl.load({address}{mask})"
        if self.program.tensors[load.tensor].dtype != kind:
            text += f".to(tl.{kind})"
        return body.define(body.name(root(self.program, load.tensor)), text, kind="load")

    def limits(self, body: Body, printer: Printer) -> tuple[str, str]:
        """The keys that some row of the tile sees: from where to where."""
        m, mask = self.match, self.made.mask
        assert mask is not None
        keys = size_text(m.key.size)
        last = "block * BM + BM - 1" if whole(m.row.size, self.schedule.bm) else (
            f"tl.minimum(block * BM + BM, {size_text(m.row.size)}) - 1"
        )  # fmt: skip
        ends = [
            body.define(body.name("first_row"), "block * BM", tight=False),
            body.define(body.name("last_row"), last),
        ]
        printer.axes |= {end: (end, NONE) for end in ends}

        def at(bound: Index, greatest: bool) -> str:
            rising = (static(bound.coefficient(m.row.name)) or 0) >= 0
            return printer.index(bound.substitute({m.row.name: Index.axis(ends[greatest == rising])}))[0]

        low, high = "0", keys
        for bound in mask.lows:
            low = f"tl.maximum({low}, {at(bound, False)})"
        for bound in mask.highs:
            high = f"tl.minimum({high}, {at(bound, True)})"
        body.effect(f"low = ({low}) // BN * BN" if mask.lows else "low = 0")
        body.effect(f"high = {high}")
        chunks = inside_kernel(self.chunks)
        body.effect("chunk = tl.arange(0, CHUNKS)")
        place = f"outer * {chunks}" if m.outer else "0"
        body.effect(f"spoiled = tl.load(spoiled_ptr + {place} + chunk, mask=chunk < {chunks}, other=0)")
        body.effect("unseen = (chunk * BN >= high) | (chunk * BN < low)")
        body.effect("all_keys = tl.max(tl.where(unseen, spoiled, 0), 0) > 0")
        body.effect("low = tl.where(all_keys, 0, low)")
        body.effect(f"high = tl.where(all_keys, {keys}, high)")
        return "low", "high"

    def text(
        self, name: str, body: Body, tensors: Sequence[str], constants: dict[str, int | str], grid: str, options: str
    ) -> KernelText:
        parameters = [*(f"{t}_ptr" for t in tensors), *self.numbers, *(f"{n}: tl.constexpr" for n in constants)]
        heading = wrapped(f"def {name}({', '.join(parameters)}):")
        source = "\n".join(["@triton.jit", *heading, *body.finished()])
        arguments = ", ".join([*tensors, *self.numbers, *(f"{n}={v}" for n, v in constants.items()), options])
        return KernelText(source, f"{name}[({grid},)]({arguments})")

    @property
    def wider(self) -> str:
        return ".to(tl.int64)" if self.wide else ""


def whole(size: Size, block: int) -> bool:
    """Do tiles cover the size exactly?"""
    value = static(size)
    return value is not None and value % block == 0


def inside_kernel(count: str) -> str:
    """A number of the launcher as text for a kernel."""
    return count.replace("triton.cdiv", "tl.cdiv")


def times(*factors: str) -> str:
    """A product as text; numbers are multiplied now."""
    number, rest = 1, []
    for factor in factors:
        if factor.isdigit():
            number *= int(factor)
        else:
            rest.append(factor if factor.startswith(("(", "triton.cdiv")) else f"({factor})")
    return " * ".join([*([str(number)] if number != 1 or not rest else []), *rest])
