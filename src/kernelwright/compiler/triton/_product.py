"""The kernels of a contraction: tiles of both operands are multiplied into a tile of the result, held in registers.

Layout, transposition, windows and padding are all in the operands' indices, so products and convolutions are one text:
rows, columns and the steps of the sum are coordinates, and where an operand lies is computed from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..contraction import Contraction, flat_index, padded_dims, product
from ..cpp._finish import Ending, ending
from ..cpp._indices import static
from ..cpp._operand import table
from ..group import root
from ..program import Axis, Index, Load, Program, Reduce, Size
from ._descriptors import Described, described
from ._flash import times
from ._kernel import KernelText, tiles
from ._printer import NONE, Dims, Printer, Value_
from ._schedule import power
from ._sizes import LARGEST, largest, size_text, wide
from ._text import Body, wrapped

_MOST_WARPS = 16
_RESERVED = ("tl", "libdevice", "BM", "BN", "BK", "GROUP", "SPLIT", "partial_ptr", "a_tiles", "b_tiles", "step")


@dataclass(frozen=True)
class ProductSchedule:
    """A tile of ``bm`` x ``bn`` results in steps of ``bk``, by so many warps, with so many steps on their way.

    ``group``: tiles of so many rows go together, so that their columns are read while they are in the L2 cache.
    ``split``: so many programs share a sum, and a second kernel adds what they found. ``persistent``: that many
    programs share all tiles, one after the other; 0 for a program for each. ``engine``: the copy engine fetches the
    operands' tiles. ``precision`` is that of products of float32: "ieee", or "tf32" and "tf32x3" on the matrix units.
    """

    bm: int
    bn: int
    bk: int
    warps: int = 4
    stages: int = 3
    group: int = 8
    split: int = 1
    persistent: int = 0
    engine: bool = False
    precision: str = "ieee"


@dataclass
class Product:
    """One contraction while its kernels are printed."""

    program: Program
    reduce: Reduce
    parts: Contraction
    schedule: ProductSchedule
    helpers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        p = self.parts
        self.end: Ending = ending(self.program, self.reduce, {"batch": p.batch, "m": p.m, "n": p.n})
        self.rows, self.columns = product(a.size for a in p.m), product(a.size for a in p.n)
        self.depth, self.batches = product(a.size for a in p.k), product(a.size for a in p.batch)
        loads = (p.a, p.b, *self.program.loads(self.reduce))
        self.memory = tuple(dict.fromkeys(root(self.program, load.tensor) for load in loads))
        self.target = root(self.program, self.reduce.store.tensor)
        many = largest(self.program, self.partial_elements) > LARGEST // 2
        self.wide = many or wide(self.program, tuple(dict.fromkeys((*self.memory, self.target))))
        self.numbers = [s.name for s in self.program.symbols]
        self.described = described(self.program, p) if self.schedule.engine else None

    @property
    def partial_elements(self) -> Size:
        """Sums that the programs of a split leave for the second kernel."""
        return self.batches * self.rows * self.columns * self.schedule.split

    @property
    def tile_count(self) -> str:
        """Tiles of the result, as Python of the launcher."""
        rows, columns = tiles(self.rows, self.schedule.bm), tiles(self.columns, self.schedule.bn)
        return times(rows, columns, size_text(self.batches))

    # ── kernels ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def kernel(self, name: str) -> KernelText:
        """Sums of products; with a split they go to ``partial``, else through the epilogue into the result."""
        s = self.schedule
        body = self._body()
        if s.persistent:
            body.reserve("tile")
            body.open(
                f"for tile in tl.range(tl.program_id(0), {self._tiles_inside}, tl.num_programs(0), flatten=True):"
            )
        self._place(body, split=s.split > 1)
        total = self._sum(body)
        operands = [root(self.program, load.tensor) for load in (self.parts.a, self.parts.b)]
        if s.split > 1:
            mask = self._mask("rows_inside", "columns_inside")
            body.effect(f"tl.store({self._partial}, {total}{mask})")
            tensors = [*dict.fromkeys(operands)]
        else:
            self._finish(body, total)
            tensors = [*dict.fromkeys((*self.memory, self.target))]
        if s.persistent:
            body.close()
        if self.described is not None:
            tensors = [t for t in tensors if t not in operands or body.mentions(f"{t}_ptr")]
        constants = {"BM": s.bm, "BN": s.bn, "BK": s.bk, "GROUP": s.group}
        constants |= {"SPLIT": s.split} if s.split > 1 else {}
        partial = ["partial"] if s.split > 1 else []
        grid = times(self.tile_count, str(s.split))
        if s.persistent:
            grid = str(min(int(grid), s.persistent)) if grid.isdigit() else f"min({grid}, {s.persistent})"
        return self._text(
            name, body, [*tensors, *partial], constants, grid, f"num_warps={s.warps}, num_stages={s.stages}"
        )

    def gather(self, name: str) -> KernelText:
        """Adds the sums of a split and finishes them."""
        s = self.schedule
        body = self._body()
        self._place(body, split=False)
        body.define("total", f"tl.zeros((BM, BN), {self._sum_type})", kind="load")
        body.open(f"for part in range({s.split}):")
        mask = self._mask("rows_inside", "columns_inside", other=True)
        body.effect(f"total += tl.load({self._partial}{mask})")
        body.close()
        self._finish(body, "total")
        loads = [node for node in self.end.epilogue.walk() if isinstance(node, Load)]
        tensors = [*dict.fromkeys((*(root(self.program, x.tensor) for x in loads), self.target)), "partial"]
        constants = {"BM": s.bm, "BN": s.bn, "GROUP": s.group}
        warps = max(s.warps, min(_MOST_WARPS, power(s.bm * s.bn // 256)))  # eight sums for each thread
        return self._text(name, body, tensors, constants, self.tile_count, f"num_warps={warps}")

    # ── parts of a kernel ────────────────────────────────────────────────────────────────────────────────────────────

    def _body(self) -> Body:
        body = Body()
        for name in (*_RESERVED, *self.numbers, *(f"{n}_ptr" for n in (*self.memory, self.target))):
            body.reserve(name)
        return body

    def _place(self, body: Body, *, split: bool) -> None:
        """Which tile a program computes: bands of GROUP rows of tiles, one column of a band after the other."""
        wider = ".to(tl.int64)" if self.wide else ""
        rows, columns = size_text(self.rows), size_text(self.columns)
        if not self.schedule.persistent:
            _define(body, "program" if split else "tile", f"tl.program_id(0){wider}")
        _define(body, "tile_rows", f"tl.cdiv({rows}, BM)")
        _define(body, "tile_columns", f"tl.cdiv({columns}, BN)")
        if split:
            _define(body, "part", "program % SPLIT", tight=False)
            _define(body, "tile", "program // SPLIT", tight=False)
        _define(body, "batch", "tile // (tile_rows * tile_columns)", tight=False)
        _define(body, "within", "tile % (tile_rows * tile_columns)", tight=False)
        _define(body, "first", "within // (GROUP * tile_columns) * GROUP", tight=False)
        _define(body, "height", "tl.minimum(tile_rows - first, GROUP)")
        _define(body, "tile_row", "first + within % (GROUP * tile_columns) % height", tight=False)
        _define(body, "tile_column", "within % (GROUP * tile_columns) // height", tight=False)
        _define(body, "rows", "tile_row * BM + tl.arange(0, BM)[:, None]", tight=False)
        _define(body, "columns", "tile_column * BN + tl.arange(0, BN)[None, :]", tight=False)
        if "rows_inside" in self._ragged:
            _define(body, "rows_inside", f"rows < {rows}", tight=False)
        if "columns_inside" in self._ragged:
            _define(body, "columns_inside", f"columns < {columns}", tight=False)

    def _sum(self, body: Body) -> str:
        """The loop over the sum; returns the name of the tile of sums."""
        s, p = self.schedule, self.parts
        sizes = {a.name: a.size for a in (*p.batch, *p.m, *p.n, *p.k)}
        a: _Operand | _Fetched
        b: _Operand | _Fetched
        if self.described is not None:
            a, b = _Fetched(body, self.described[0], "a"), _Fetched(body, self.described[1], "b")
        else:
            a = _Operand(self, body, p.a, sizes, "a", "rows", p.m)
            b = _Operand(self, body, p.b, sizes, "b", "columns", p.n)
        body.define("total", f"tl.zeros((BM, BN), {self._sum_type})", kind="load")
        depth = size_text(self.depth)
        begin, end = "0", depth
        if s.split > 1:
            _define(body, "begin", f"part * tl.cdiv(tl.cdiv({depth}, BK), SPLIT) * BK", tight=False)
            _define(body, "end", f"tl.minimum(begin + tl.cdiv(tl.cdiv({depth}, BK), SPLIT) * BK, {depth})")
            begin, end = "begin", "end"
        body.open(f"for step in range({begin}, {end}, BK):")
        wider = ".to(tl.int64)" if self.wide else ""
        body.define("depth_a", f"step + tl.arange(0, BK)[None, :]{wider}", tight=False)
        body.define("depth_b", f"step + tl.arange(0, BK)[:, None]{wider}", tight=False)
        inside = "" if self._whole(self.depth, s.bk) else f" < {depth}"
        left, right = a.load("depth_a", inside), b.load("depth_b", inside)
        precision = f', input_precision="{s.precision}"' if self._kind == "float32" else ""
        out = ", out_dtype=tl.float64" if self._kind == "float64" else ""
        body.effect(f"total = tl.dot({left}, {right}, total{precision}{out})")
        body.close()
        return "total"

    def _finish(self, body: Body, total: str) -> None:
        """The epilogue and the store, in the result's own coordinates."""
        axes: dict[str, tuple[str, Dims]] = {}
        for part, variable, dims in (("batch", "batch", NONE), ("m", "rows", {"m"}), ("n", "columns", {"n"})):
            axes |= _decoded(body, variable, self.end.groups[part], frozenset(dims))
        inside = {
            "m": ("rows_inside", self.rows, self.schedule.bm),
            "n": ("columns_inside", self.columns, self.schedule.bn),
        }
        masks = {dim: name for dim, (name, size, block) in inside.items() if not self._whole(size, block)}
        ranges = {
            a.name: (0, size - 1)
            for group in self.end.groups.values()
            for a in group
            if (size := static(a.size)) is not None and size > 0
        }
        printer = Printer(self.end.program, body, axes, masks, ranges, self.helpers)
        acc = Value_(total, "float64" if self._sum_type == "tl.float64" else "float32", frozenset({"m", "n"}))
        printer.write(self.end.store, printer.finished(self.end.epilogue, acc, "value"))

    def _text(
        self, name: str, body: Body, tensors: Sequence[str], constants: dict[str, int], grid: str, options: str
    ) -> KernelText:
        tiles_of = self.described if self.described is not None and "BK" in constants else ()
        fetched = ["a_tiles", "b_tiles"] if tiles_of else []
        parameters = [*fetched, *(f"{t}_ptr" for t in tensors), *self.numbers]
        parameters += [f"{n}: tl.constexpr" for n in constants]
        heading = wrapped(f"def {name}({', '.join(parameters)}):")
        source = "\n".join(["@triton.jit", *heading, *body.finished()])
        values = [f"{n}={v}" for n, v in constants.items()]
        s = self.schedule
        given = [matrix.text(side, s.bk) for matrix, side in zip(tiles_of, (s.bm, s.bn), strict=False)]
        arguments = ", ".join([*given, *tensors, *self.numbers, *values, options])
        return KernelText(source, f"{name}[({grid},)]({arguments})")

    @property
    def _tiles_inside(self) -> str:
        """Tiles of the result, as text of the kernel."""
        return self.tile_count.replace("triton.cdiv", "tl.cdiv")

    @property
    def _partial(self) -> str:
        """Where a part's sum of an element lies."""
        rows, columns, batches = size_text(self.rows), size_text(self.columns), size_text(self.batches)
        matrix = "part" if batches == "1" else f"(part * {batches} + batch)"
        return f"partial_ptr + ({matrix} * {rows} + rows) * {columns} + columns"

    # ── small questions ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _kind(self) -> str:
        """The dtype in which the operands are multiplied: their own where both have it, else that of the sum."""
        kinds = {self.program.tensors[load.tensor].dtype for load in (self.parts.a, self.parts.b)}
        return kinds.pop() if len(kinds) == 1 and self.parts.dtype == "float32" else self.parts.dtype

    @property
    def _sum_type(self) -> str:
        return f"tl.{self.parts.dtype}"

    @property
    def _ragged(self) -> list[str]:
        """The masks that are needed: of the sides that tiles do not cover exactly."""
        found = [] if self._whole(self.rows, self.schedule.bm) else ["rows_inside"]
        return found if self._whole(self.columns, self.schedule.bn) else [*found, "columns_inside"]

    @staticmethod
    def _whole(size: Size, block: int) -> bool:
        """Do tiles cover the size exactly?"""
        value = static(size)
        return value is not None and value % block == 0

    def _mask(self, *names: str, other: bool = False) -> str:
        kept = [name for name in names if name in self._ragged]
        return f", mask={' & '.join(kept)}{', other=0.0' if other else ''}" if kept else ""


class _Operand:
    """How one operand's tile is addressed: what stays is computed before the loop, what moves with it inside."""

    def __init__(
        self, made: Product, body: Body, load: Load, sizes: dict[str, Size], role: str, lane: str, own: tuple[Axis, ...]
    ) -> None:
        self._made, self._body, self._load, self._role, self._lane = made, body, load, role, lane
        program, parts = made.program, made.parts
        self._tensor = program.tensors[load.tensor]
        self._pointer = f"{root(program, load.tensor)}_ptr"
        self._padded = padded_dims(program, load, sizes)
        self._flat = flat_index(program, load)
        fixed = [*_walk(self._flat, "batch", parts.batch), *_walk(self._flat, lane, own)]
        offset = size_text(self._flat.offset)
        fixed += [offset] if offset != "0" else []
        self._base = body.define(body.name(f"{role}_base"), _sum(fixed), tight=False)
        block, size = (made.schedule.bm, made.rows) if lane == "rows" else (made.schedule.bn, made.columns)
        self._lane_mask = "" if made._whole(size, block) else f"{lane}_inside"
        # Where a dimension may be left, its coordinate is needed besides the address.
        self._corner: dict[int, str] = {}
        for dim in self._padded:
            index = load.index[dim]
            text = [*_walk(index, "batch", parts.batch), *_walk(index, lane, own)]
            text += [size_text(index.offset)] if size_text(index.offset) != "0" else []
            self._corner[dim] = body.define(body.name(f"{role}_at{dim}"), _sum(text), tight=False)

    def load(self, depth: str, inside: str) -> str:
        """Print the load of one step's tile; returns its name."""
        body, made = self._body, self._made
        moving = _walk(self._flat, depth, made.parts.k)
        masks = [self._lane_mask] if self._lane_mask else []
        masks += [f"({depth}{inside})"] if inside else []
        for dim, corner in self._corner.items():
            step = _sum([corner, *_walk(self._load.index[dim], depth, made.parts.k)])
            at = body.define(body.name(f"{self._role}_dim{dim}"), step, tight=False)
            masks += [f"({at} >= 0)", f"({at} < {size_text(self._tensor.shape[dim])})"]
        address = _sum([self._pointer, self._base, *moving])
        mask = f", mask={' & '.join(masks)}, other=0.0" if masks else ""
        text = f"tl.load({address}{mask})"
        if self._tensor.dtype != made._kind:
            text += f".to(tl.{made._kind})"
        return body.define(body.name(self._role), text, kind="load")


class _Fetched:
    """An operand whose tiles the copy engine fetches."""

    def __init__(self, body: Body, matrix: Described, role: str) -> None:
        self._body, self._matrix, self._role = body, matrix, role
        self._own = "tile_row * BM" if role == "a" else "tile_column * BN"

    def load(self, depth: str, inside: str) -> str:
        """Print the load of one step's tile; returns its name."""
        step = "step"
        place = [step, self._own] if self._matrix.turned else [self._own, step]
        text = f"{self._role}_tiles.load([{', '.join(place)}])"
        rows_first = self._role == "a"
        return self._body.define(
            self._body.name(self._role), text if rows_first != self._matrix.turned else f"{text}.T", kind="load"
        )


def _walk(index: Index, coordinate: str, axes: Sequence[Axis]) -> list[str]:
    """The summands of an index that a coordinate over fused axes gives; axes that lie as one run count as one."""
    found: list[str] = []
    rows = table(index, axes)
    inner: Size = 1
    for number, (size, stride) in reversed(list(enumerate(rows))):
        step, text = size_text(inner), coordinate
        if step != "1":
            text = f"{text} // {step}"
        if number:
            text = f"{text} % {size_text(size)}"
        factor = size_text(stride)
        if factor != "0":
            text = text if text == coordinate or factor == "1" else f"({text})"
            found.append(text if factor == "1" else f"{text} * {factor}")
        inner = inner * size
    return found[::-1]


def _decoded(body: Body, variable: str, axes: Sequence[Axis], dims: Dims) -> dict[str, tuple[str, Dims]]:
    """Axes, outermost first, of which a variable counts the points."""
    found: dict[str, tuple[str, Dims]] = {}
    for position, axis in enumerate(axes):
        step = size_text(product(a.size for a in axes[position + 1 :]))
        text = variable if step == "1" else f"{variable} // {step}"
        text += f" % {size_text(axis.size)}" if position else ""
        name = text if text == variable else body.define(body.name(axis.name), text, tight=False)
        found[axis.name] = (name, dims)
    return found


def _define(body: Body, name: str, text: str, *, tight: bool = True) -> None:
    body.define(body.name(name), text, tight=tight)


def _sum(terms: Sequence[str]) -> str:
    return " + ".join(terms).replace("+ -", "- ") or "0"
