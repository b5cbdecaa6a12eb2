"""The walks of an attention over its keys: scores, what becomes of them, and their product with the values."""

from __future__ import annotations

from ..program import Index, Load, Map, Reduce, Store
from ._between import Online
from ._flash import Flash, inside_kernel, operand_kind, times, whole
from ._kernel import KernelText, tiles
from ._operators import literal_text
from ._printer import Printer, Value_
from ._reduce import combined, identity
from ._schedule import power
from ._sizes import size_text
from ._text import Body

_TILE = frozenset({"m", "n"})
_COLUMN = frozenset({"m"})
_LOWEST = 'float("-inf")'


def attention_kernel(flash: Flash, name: str) -> KernelText:
    """The kernel that does all but look at the values beforehand."""
    body, m, s = Body(), flash.match, flash.schedule
    count = tiles(m.row.size, s.bm)
    blocks = inside_kernel(count)
    printer = flash.begin(body, f"program // {blocks}")
    # The last rows see the most keys where a mask is causal: they begin first.
    body.define(body.name("block"), f"{blocks} - 1 - program % {blocks}", tight=False)
    flash.lanes(body, "rows", "BM", "[:, None]", "block * BM")
    flash.lanes(body, "columns", "WIDTH", "[None, :]")
    flash.lanes(body, "depth_q", "DEPTH", "[None, :]")
    flash.lanes(body, "depth_k", "DEPTH", "[:, None]")
    printer.axes |= {m.row.name: ("rows", _COLUMN), m.width.name: ("columns", frozenset({"w"}))}
    for dim, variable, size, block in (("m", "rows", m.row.size, s.bm), ("w", "columns", m.width.size, flash.width)):
        if not whole(size, block):
            text = f"{variable} < {size_text(size)}"
            printer.masks[dim] = body.define(body.name(f"{variable}_inside"), text, tight=False)
    inside = [("rows", m.row.size, s.bm), ("depth_q", m.depth.size, flash.depth)]
    kind = operand_kind(flash.program, m.q, m.k, m.dtype)
    query = flash.load(body, printer, m.q, {"rows": m.row.name, "depth_q": m.depth.name}, inside, kind)
    low, high = flash.limits(body, printer) if flash.skips else ("0", size_text(m.key.size))
    Walks(flash, body, printer, query, low, high).run()
    constants: dict[str, int | str] = {"BM": s.bm, "BN": s.bn, "DEPTH": flash.depth, "WIDTH": flash.width}
    if flash.skips:
        known = flash.chunks.isdigit()
        constants["CHUNKS"] = power(int(flash.chunks)) if known else f"triton.next_power_of_2({flash.chunks})"
    grid = times(size_text(flash.outer), count)
    tensors = [*flash.touched, *(["spoiled"] if flash.skips else [])]
    return flash.text(name, body, tensors, constants, grid, f"num_warps={s.warps}, num_stages={s.stages}")


class Walks:
    """The walks over the keys ``low .. high``, and what happens between and after them."""

    def __init__(self, flash: Flash, body: Body, printer: Printer, query: str, low: str, high: str) -> None:
        self.flash, self.body, self.printer, self.query = flash, body, printer, query
        self.match, self.made, self.schedule = flash.match, flash.made, flash.schedule
        self.low, self.high = low, high
        self.type = f"tl.{self.match.dtype}"
        self.kind = self._weights_kind()

    def run(self) -> None:
        """Print all of it, and the end."""
        self.body.effect(f"acc = tl.zeros((BM, WIDTH), {self.type})")
        if self.made.online is not None:
            self._rows(0)
            self._once(self.made.online)
        else:
            for walk in range(self.made.walks):
                self._rows(walk)
                self._walk(walk)
        self._rows(self.made.walks)
        for name, store in self.made.kept:
            self.printer.write(store, self.printer.value(self._row(name)))
        self._finish()

    # ── walks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _once(self, online: Online) -> None:
        """A softmax: all sums are relative to ``peak``, the largest score so far."""
        body = self.body
        sums = [body.name(f"total{n}" if n else "total") for n, _ in enumerate(online.sums)]
        for name, start in [("peak", _LOWEST), *((name, "0.0") for name in sums)]:
            body.effect(f"{name} = tl.full((BM, 1), {start}, {self.type})")
        inner = self._open()
        self._tiles(inner, 0)
        scores = self._masked(inner, inner.value(online.exponent), _LOWEST)
        body.define(body.name("higher"), f"tl.maximum(peak, tl.max({scores}, 1, keep_dims=True))", kind="load")
        body.define(body.name("base"), f'tl.where(higher == {_LOWEST}, 0.0, higher)', kind="load")  # fmt: skip
        body.define(body.name("weights"), f"tl.exp({scores} - base)", kind="load")
        body.define(body.name("shrink"), "tl.exp(peak - base)", kind="load")
        for name in sums:
            body.effect(f"{name} = {name} * shrink + tl.sum(weights, 1, keep_dims=True)")
        body.effect("acc = acc * shrink")
        self._multiply(inner, "weights")
        body.effect("peak = higher")
        body.close()
        nan = 'float("nan")'
        for name, reduce in zip(sums, online.sums, strict=True):  # exp(-inf - -inf)
            body.effect(f"{name} = tl.where(peak == {_LOWEST}, {nan}, {name})")
            self._result(reduce, name)
        self._result(online.peak, "peak")

    def _walk(self, number: int) -> None:
        """One walk: the reductions that it completes, and the second product if it is due."""
        reduces = [
            s for s in self.made.stages if isinstance(s, Reduce) and self.made.level[s.store.tensor] == number + 1
        ]
        names = [self.body.name(f"{s.store.tensor}_acc") for s in reduces]
        for name, reduce in zip(names, reduces, strict=True):
            self.body.effect(f"{name} = tl.full((BM, 1), {literal_text(identity(reduce))}, {self.type})")
        inner = self._open()
        self._tiles(inner, number)
        for name, reduce in zip(names, reduces, strict=True):
            value = self._masked(inner, inner.value(reduce.value), literal_text(identity(reduce)))
            self.body.effect(
                f"{name} = {combined(inner, reduce.op, self.match.dtype, name, self._folded(reduce, value))}"
            )
        if number == self.made.level[self.made.weights]:
            weights = inner.value(self._tile(self.made.weights))
            self._multiply(inner, self._masked(inner, weights, "0.0"))
        self.body.close()
        for name, reduce in zip(names, reduces, strict=True):
            self._result(reduce, name)

    def _open(self) -> Printer:
        """Begin a walk: coordinates of the keys, and the raw scores with what is made of them at once."""
        flash, body, m, s = self.flash, self.body, self.match, self.schedule
        body.open(f"for start in range({self.low}, {self.high}, BN):")
        inner = self.printer.inner()
        keys = body.define(body.name("keys"), f"start + tl.arange(0, BN)[None, :]{flash.wider}", tight=False)
        inner.axes[m.key.name] = (keys, frozenset({"n"}))
        if not whole(m.key.size, s.bn):
            text = f"{keys} < {size_text(m.key.size)}"
            inner.masks["n"] = body.define(body.name("keys_inside"), text, tight=False)
        kind = operand_kind(flash.program, m.q, m.k, m.dtype)
        inside = [(keys, m.key.size, s.bn), ("depth_k", m.depth.size, flash.depth)]
        right = flash.load(body, inner, m.k, {"depth_k": m.depth.name, keys: m.key.name}, inside, kind)
        product_ = body.define(body.name("product"), f"tl.dot({self.query}, {right}{self._options(kind)})", kind="load")
        acc = Value_(product_, m.dtype, _TILE)
        inner.keep(self._store(self.made.first), inner.finished(self.made.scores, acc, "scores"))
        return inner

    def _tiles(self, inner: Printer, walk: int) -> None:
        """The values of a tile that are known in this walk; what nobody uses vanishes."""
        for stage in self.made.stages:
            name = stage.store.tensor
            if isinstance(stage, Map) and name.endswith("_tile") and self.made.level[name] <= walk:
                inner.keep(stage.store, inner.value(stage.value))

    def _multiply(self, inner: Printer, weights: str) -> None:
        """Add the weights' product with the values of these keys."""
        flash, body, m = self.flash, self.body, self.match
        lane = f"start + tl.arange(0, BN)[:, None]{flash.wider}"
        keys = body.define(body.name("keys_v"), lane, tight=False)
        inside = [(keys, m.key.size, self.schedule.bn), ("columns", m.width.size, flash.width)]
        right = flash.load(body, inner, m.v, {keys: m.key.name, "columns": m.width.name}, inside, self.kind)
        left = weights if self.kind == m.dtype else f"{weights}.to(tl.{self.kind})"
        body.effect(f"acc = tl.dot({left}, {right}, acc{self._options(self.kind)})")

    def _options(self, kind: str) -> str:
        if kind == "float64":
            return ", out_dtype=tl.float64"
        return f', input_precision="{self.schedule.precision}"' if kind == "float32" else ""

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _rows(self, walk: int) -> None:
        """Values of rows alone that are due before a walk."""
        for stage in self.made.stages:
            name = stage.store.tensor
            due = isinstance(stage, Map) and name.endswith("_row") and self.made.level[name] <= walk
            if due and not self.printer.knows((name, stage.store.index)):
                self.printer.keep(stage.store, self.printer.value(stage.value))

    def _result(self, reduce: Reduce, name: str) -> None:
        acc = Value_(name, self.match.dtype, _COLUMN)
        self.printer.keep(reduce.store, self.printer.finished(reduce.epilogue, acc, reduce.store.tensor))

    def _folded(self, reduce: Reduce, value: str) -> str:
        if reduce.op == "sum":
            return f"tl.sum({value}, 1, keep_dims=True)"
        helper = "largest" if reduce.op == "max" else "smallest"
        self.flash.helpers.add(helper)
        return f"{helper}({value}, 1, True)"

    def _finish(self) -> None:
        """The factors that were left out of the weights, the epilogue, the store."""
        printer = self.printer
        acc = Value_("acc", self.match.dtype, frozenset({"m", "w"}))
        if self.made.online is not None:
            for number, (op, factor) in enumerate(self.made.online.factors):
                value = printer.value(factor)
                sign = "*" if op == "mul" else "/"
                acc = printer.define(
                    ("factor", number), f"{acc.name} {sign} {value.name}", acc.dtype, acc.dims, tight=False
                )
        printer.write(self.match.result.store, printer.finished(self.made.epilogue, acc, "result"))

    # ── small questions ──────────────────────────────────────────────────────────────────────────────────────────────

    def _weights_kind(self) -> str:
        """The dtype in which weights are multiplied: that of the values, if weights or the result have it anyway.

        Weights of a softmax are at most one: as numbers of 16 bits they lose no more than the result will.
        """
        m, tensors = self.match, self.flash.program.tensors
        kind = tensors[m.v.tensor].dtype
        others = {tensors[m.weights].dtype, *([tensors[m.result.store.tensor].dtype] if self.made.online else [])}
        return kind if m.dtype == "float32" and kind in others else m.dtype

    def _masked(self, inner: Printer, value: Value_, other: str) -> str:
        """A tile with something neutral where there are no keys."""
        mask = inner.masks.get("n")
        value = inner.tensor(value)
        if value.dims < _TILE:
            value = inner.define(("tile", value.name), f"tl.broadcast_to({value.name}, [BM, BN])", value.dtype, _TILE)
        if mask is None:
            return value.name
        return inner.define(
            ("masked", value.name, other), f"tl.where({mask}, {value.name}, {other})", value.dtype, _TILE
        ).name

    def _tile(self, name: str) -> Load:
        return Load(name, self._store(name).index, self.match.dtype)

    def _row(self, name: str) -> Load:
        return Load(name, (Index.axis(self.match.row.name),), self.match.dtype)

    def _store(self, name: str) -> Store:
        return Store(name, (Index.axis(self.match.key.name), Index.axis(self.match.row.name)))
