"""The part of an attention kernel between its products: row stages over a panel of scores, sixteen rows at a time.

Stages are sorted into passes: a reduction over the keys is known only after a whole walk over the panel, so whatever
reads it belongs to the next walk. Within a pass all stages run in one loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .._dataflow import is_heavy, root
from .._visible import Mask, mask_of, vanishes
from ..attention import Attention, computed
from ..program import Acc, Expr, Index, Load, Map, Program, Reduce, Size, Store, Tensor
from ._indices import flatten, size_text, static
from .printer import Printer, Temp, value_type

W = 16
UNROLL = 4  # keys per step of a pass: their reductions run side by side
_ACCUMULATORS = {"sum": "kw::Sum", "max": "kw::Max", "min": "kw::Min"}


@dataclass(frozen=True)
class Panel:
    """The stages of a match over local arrays: ``levels`` passes over ``buffers`` panels; ``staged`` are copies
    of what the stages read, with the rows as lanes."""

    program: Program  # with the local arrays
    match: Attention
    lanes: int
    stages: tuple[Map | Reduce, ...]  # over local arrays; the first is that of the scores, if they need one
    scores: Expr
    level: Mapping[str, int]  # of each stage's tensor (as in the match)
    levels: int
    weights_level: int
    locals: Mapping[str, Tensor]
    staged: tuple[Tensor, ...]
    sources: Mapping[str, Load]  # of the staged copies
    kept_panels: frozenset[str]  # panels that a later pass or product reads from memory
    places: tuple[tuple[str, int], ...]
    mask: Mask | None

    @property
    def buffers(self) -> int:
        return max(i for _, i in self.places) + 1

    @property
    def first(self) -> str:
        return _panel_name(self.match.first)

    @property
    def weights(self) -> str:
        return _panel_name(self.match.weights)

    # ── before the passes ────────────────────────────────────────────────────────────────────────────────────────────

    def stage(self) -> list[str]:
        """Copy what the stages read along the rows."""
        row, key = self.match.row, self.match.key
        lines = []
        for tensor in self.staged:
            load = self.sources[tensor.name]
            flat = flatten(self.program.tensors[load.tensor], load.index)
            step, along = flat.coefficient(row.name), flat.coefficient(key.name)
            flat = flat - Index.axis(row.name) * step - Index.axis(key.name) * along
            printer = Printer(self.program, lane=None)
            where = f"{printer.pointer(load.tensor)} + {printer.index(flat)} + row0_ * {_factor(step)}"
            keys = size_text(key.size) if len(tensor.shape) == 2 else "1"
            lines += ["{", *printer.lines]
            lines += [f"kw::attention::turn({tensor.name}, {self.lanes}, {where}, {_factor(step)}, {_factor(along)}, "]
            lines += [f"rows_, {keys});", "}"]
        lines += [f"alignas(64) {self._kind(n)} {_row_name(n)}[{self.lanes}];" for n in self.match.rows]
        return lines

    def limits(self) -> list[str]:
        """``low_ <= key < high_`` for whatever a row of the block sees; ``seen0_ <= key < seen1_`` every row sees."""
        assert self.mask is not None
        low, high, full_low, full_high = "int64_t(0)", size_text(self.match.key.size), "int64_t(0)", ""
        high = full_high = f"int64_t({high})"
        for bound in self.mask.lows:
            first, last = self._ends(bound)
            low, full_low = f"kw::max<int64_t>({low}, {first})", f"kw::max<int64_t>({full_low}, {last})"
        for bound in self.mask.highs:
            first, last = self._ends(bound)
            high, full_high = f"kw::min<int64_t>({high}, {last})", f"kw::min<int64_t>({full_high}, {first})"
        lines = [f"const int64_t low_ = {low}, high_ = {high};"]
        if self.mask.exact:
            lines.append(f"const int64_t seen0_ = {full_low}, seen1_ = {full_high};")
        return lines

    def _ends(self, bound: Index) -> tuple[str, str]:
        """The least and the greatest value of a bound over the block's rows."""
        row = self.match.row.name
        step = static(bound.coefficient(row)) or 0
        printer = Printer(self.program, lane=None)
        ends = [printer.index(bound.substitute({row: Index.axis(r)})) for r in ("row0_", "(row0_ + rows_ - 1)")]
        return (ends[0], ends[1]) if step >= 0 else (ends[1], ends[0])

    def trim(self) -> list[str]:
        """Shorten ``a_ .. b_`` by keys that no row sees, where only their values tell."""
        assert self.mask is not None
        if self.mask.exact:
            return []
        key, row = self.match.key.name, self.match.row.name
        printer = self._printer({})
        seen = printer.temp(self.mask.seen)
        test = f"if ({f'kw::any({seen.name})' if seen.vector else seen.name}) return true;"
        return [
            f"auto seen_ = [&]([[maybe_unused]] const int64_t {key}) {{",
            "for (int j_ = 0; j_ < vectors_; ++j_) {",
            f"[[maybe_unused]] const int64_t {row} = row0_ + j_ * {W};",
            *printer.lines,
            test,
            "}",
            "return false;",
            "};",
            "while (a_ < b_ && !seen_(b_ - 1)) --b_;",
            "while (a_ < b_ && !seen_(a_)) ++a_;",
        ]

    # ── passes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def between(self, level: int) -> list[str]:
        """Statements of rows alone that are due before a pass."""
        lines: list[str] = []
        for stage in self.stages:
            name = stage.store.tensor
            if isinstance(stage, Map) and name in self._rows and self.level[name] == level:
                printer = self._printer({})
                value = printer.temp(stage.value)
                printer.store(Store(name, self._row_index()), printer.widened(value), value.dtype)
                lines += self._each_vector(printer.lines)
        return lines

    def begin(self, level: int) -> list[str]:
        """Accumulators of the pass."""
        lines = []
        for stage in self._reductions(level):
            name, kind = stage.store.tensor, self._vector(stage)
            lines.append(f"alignas(64) {value_type(stage.value.dtype, vector=False)} {name}_sum_[{self.lanes}];")
            lines.append(
                f"for (int j_ = 0; j_ < vectors_; ++j_) "
                f"kw::store({name}_sum_ + j_ * {W}, {_ACCUMULATORS[stage.op]}<{kind}>::identity());"
            )
        return lines

    def body(self, level: int) -> list[str]:
        """All stages of a pass over the keys ``a_ .. b_``."""
        if not any(self._mapped(level)) and not self._reductions(level) and not (level == 0 and self._shaped):
            return []
        if level == 0 and self.mask is not None and self.mask.exact:
            return [
                "auto plain_ = [&](const int64_t a_, const int64_t b_) {",
                *self._loops(level, self.mask.plain),
                "};",
                "auto masked_ = [&](const int64_t a_, const int64_t b_) {",
                *self._loops(level, self.scores),
                "};",
                "const int64_t m_ = kw::min(kw::max(a_, seen0_), b_), e_ = kw::max(kw::min(b_, seen1_), m_);",
                "if (a_ < m_) masked_(a_, m_);",
                "if (m_ < e_) plain_(m_, e_);",
                "if (e_ < b_) masked_(e_, b_);",
            ]
        return self._loops(level, self.scores)

    def end(self, level: int) -> list[str]:
        """Results of the pass's reductions."""
        lines: list[str] = []
        for stage in self._reductions(level):
            name = stage.store.tensor
            printer = self._printer({}, acc="acc_")
            value = printer.temp(stage.epilogue)
            printer.store(Store(name, self._row_index()), printer.widened(value), value.dtype)
            lines += self._each_vector([f"const auto acc_ = kw::load({name}_sum_ + j_ * {W});", *printer.lines])
        return lines

    def keep(self) -> list[str]:
        """Write out rows that others read."""
        lines: list[str] = []
        for name in self.match.kept:
            stage = next(s for s in self.match.stages if s.store.tensor == name)
            printer = Printer(self.program, lane=self.match.row.name, count="most_")
            dtype = computed(self.program.tensors[name].dtype)
            printer.store(stage.store, Temp("kept_row_", dtype, True), dtype)
            lines += self._each_vector(
                [
                    f"const int most_ = static_cast<int>(kw::min<int64_t>({W}, rows_ - j_ * {W}));",
                    f"const auto kept_row_ = kw::load({_row_name(name)} + j_ * {W});",
                    *printer.lines,
                ]
            )
        return lines

    def closing(self) -> tuple[Expr, dict[str, Temp], list[str]]:
        """O's epilogue over local rows, the scalars that stand for them, and their definitions."""
        known: dict[str, Temp] = {}
        lines = []
        for name in self.match.rows:
            local, dtype = _row_name(name), computed(self.program.tensors[name].dtype)
            known[local] = Temp(f"{local}1_", dtype, False)
            lines.append(f"[[maybe_unused]] const auto {local}1_ = {local}[j_ * {W} + r_];")
        return _localised(self.program, self.match, self.match.result.epilogue, {}), known, lines

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _loops(self, level: int, scores: Expr) -> list[str]:
        lines = ["for (int j_ = 0; j_ < vectors_; ++j_) {"]
        lines.append(f"[[maybe_unused]] const int64_t {self.match.row.name} = row0_ + j_ * {W};")
        known: dict[str, Temp] = {}
        for name in self._rows:
            if self.level[name] <= level:
                lines.append(f"[[maybe_unused]] const auto {name}v_ = kw::load({name} + j_ * {W});")
                known[name] = Temp(f"{name}v_", self.program.tensors[name].dtype, True)
        reductions, unroll = self._reductions(level), self._unroll(level)
        for stage in reductions:
            name, kind = stage.store.tensor, f"{_ACCUMULATORS[stage.op]}<{self._vector(stage)}>"
            lines.append(f"{kind} {', '.join(f'{name}{u}_' for u in range(unroll))};")
            lines.append(f"{name}0_.v = kw::load({name}_sum_ + j_ * {W});")
        lines.append("int64_t n_ = a_;")
        lines.append(f"for (; n_ + {unroll} <= b_; n_ += {unroll}) {{")
        for unrolled in range(unroll):
            lines += self._point(level, scores, known, unrolled)
        lines += ["}", "for (; n_ < b_; ++n_) {", *self._point(level, scores, known, 0), "}"]
        for stage in reductions:
            name = stage.store.tensor
            lines += [f"{name}0_.merge({name}{u}_);" for u in range(1, unroll)]
            lines.append(f"kw::store({name}_sum_ + j_ * {W}, {name}0_.v);")
        return [*lines, "}"]

    def _unroll(self, level: int) -> int:
        """Keys per step: enough to hide the latency of a reduction, fewer where each is much work already."""
        made = [s.value for s in self.stages if self.level[s.store.tensor] - isinstance(s, Reduce) == level]
        return UNROLL // 2 if any(is_heavy(e) for e in (*made, *([self.scores] if level == 0 else []))) else UNROLL

    def _point(self, level: int, scores: Expr, known: Mapping[str, Temp], unrolled: int) -> list[str]:
        """Every stage of the pass at one key."""
        key, lanes = self.match.key.name, self.lanes
        lines = [f"{{ [[maybe_unused]] const int64_t {key} = n_ + {unrolled};"]
        printer = self._printer(known, acc="acc_")
        if level == 0 and self._shaped:
            lines.append(f"const auto acc_ = kw::load({self.first} + {key} * {lanes} + j_ * {W});")
            self._put(printer, self.first, printer.temp(scores))
        for stage in self.stages:
            name = stage.store.tensor
            if isinstance(stage, Map) and name in self._panels and self.level[name] == level:
                self._put(printer, name, printer.temp(stage.value))
            elif isinstance(stage, Reduce) and self.level[name] == level + 1:
                value = printer.widened(printer.temp(stage.value))
                printer.lines.append(f"{name}{unrolled}_.add({value.name});")
        return [*lines, *printer.lines, "}"]

    def _put(self, printer: Printer, name: str, value: Temp) -> None:
        index = (Index.axis(self.match.key.name), *self._row_index())
        if name in self.kept_panels:
            printer.store(Store(name, index), printer.widened(value), value.dtype)
        else:
            printer.forward(Store(name, index), value)

    def _each_vector(self, lines: Sequence[str]) -> list[str]:
        row = f"[[maybe_unused]] const int64_t {self.match.row.name} = row0_ + j_ * {W};"
        return ["for (int j_ = 0; j_ < vectors_; ++j_) {", row, *lines, "}"]

    # ── small questions ──────────────────────────────────────────────────────────────────────────────────────────────

    def _printer(self, known: Mapping[str, Temp], acc: str | None = None) -> Printer:
        return Printer(self.program, lane=self.match.row.name, acc=acc, known=known)

    def _row_index(self) -> tuple[Index, ...]:
        return (Index.axis(self.match.row.name) - Index.axis("row0_"),)

    @property
    def _rows(self) -> tuple[str, ...]:
        return tuple(_row_name(n) for n in self.match.rows)

    @property
    def _panels(self) -> tuple[str, ...]:
        return tuple(_panel_name(n) for n in self.match.panels)

    @property
    def _shaped(self) -> bool:
        return not isinstance(self.scores, Acc)

    def _kind(self, name: str) -> str:
        return value_type(computed(self.program.tensors[name].dtype), vector=False)

    def _vector(self, stage: Reduce) -> str:
        return value_type(stage.value.dtype, vector=True)

    def _mapped(self, level: int) -> list[bool]:
        return [self.level[s.store.tensor] == level and s.store.tensor in self._panels for s in self.stages]

    def _reductions(self, level: int) -> list[Reduce]:
        return [s for s in self.stages if isinstance(s, Reduce) and self.level[s.store.tensor] == level + 1]


# ── building ─────────────────────────────────────────────────────────────────────────────────────────────────────


def panel_of(program: Program, match: Attention, lanes: int) -> Panel:
    """Sort the stages into passes and give every tensor between the products a local array."""
    copies = _copies(program, match, lanes)
    sources = {tensor.name: load for load, tensor in copies.items()}
    names = {load: tensor.name for load, tensor in copies.items()}
    local: dict[str, Tensor] = {tensor.name: tensor for tensor in copies.values()}
    for name in match.panels:
        local[_panel_name(name)] = _array(_panel_name(name), (match.key.size, lanes), program.tensors[name].dtype)
    for name in match.rows:
        local[_row_name(name)] = _array(_row_name(name), (lanes,), program.tensors[name].dtype)
    stages = tuple(_local_stage(program, match, s, names) for s in match.stages)
    level = _levels(match, stages)
    kept = _kept_panels(match, stages, level)
    mask = mask_of(match.scores, match.key.name)
    if mask is not None:
        panels = {root(program, n): n for n in match.panels}
        ends = vanishes(
            mask.fill, match.first, match.weights, match.stages, lambda n: panels.get(root(program, n.tensor))
        )
        plain, seen = (_localised(program, match, e, names) for e in (mask.plain, mask.seen))
        mask = replace(mask, plain=plain, seen=seen) if ends else None
    return Panel(
        program=replace(program, tensors={**program.tensors, **local}),
        match=match,
        lanes=lanes,
        stages=stages,
        scores=_localised(program, match, match.scores, names),
        level=level,
        levels=1 + max([level[_panel_name(match.weights)], *(_pass_of(s, level) for s in stages)]),
        weights_level=level[_panel_name(match.weights)],
        locals=local,
        staged=tuple(copies.values()),
        sources=sources,
        kept_panels=kept,
        places=_places(match, stages, kept, level),
        mask=mask,
    )


def _pass_of(stage: Map | Reduce, level: Mapping[str, int]) -> int:
    """The pass a stage needs; rows alone need none."""
    at = level[stage.store.tensor]
    if isinstance(stage, Reduce):
        return at - 1
    return at if stage.store.tensor.endswith("_panel_") else 0


def _panel_name(name: str) -> str:
    return f"{name}_panel_"


def _row_name(name: str) -> str:
    return f"{name}_row_"


def _array(name: str, shape: tuple[Size, ...], dtype: str) -> Tensor:
    strides = (shape[1], 1) if len(shape) == 2 else (1,)
    return Tensor(name, shape, computed(dtype) if "stage" not in name else dtype, strides, "temp")


def _localised(program: Program, match: Attention, expr: Expr, copies: Mapping[Load, str]) -> Expr:
    """The expression over local arrays. Roundings to half storage vanish with the storage."""
    panels = {root(program, n): _panel_name(n) for n in match.panels}
    rows = {root(program, n): _row_name(n) for n in match.rows}
    lane = Index.axis(match.row.name) - Index.axis("row0_")

    def fn(node: Expr) -> Expr | None:
        if not isinstance(node, Load):
            return None
        memory = root(program, node.tensor)
        if memory in panels:
            return Load(panels[memory], (Index.axis(match.key.name), lane), node.dtype)
        if memory in rows:
            return Load(rows[memory], (lane,), node.dtype)
        if node in copies:
            wide = match.key.name in node.axes()
            return Load(copies[node], (Index.axis(match.key.name), lane) if wide else (lane,), node.dtype)
        return None

    return expr.map(fn)


def _local_stage(program: Program, match: Attention, stage: Map | Reduce, copies: Mapping[Load, str]) -> Map | Reduce:
    name = stage.store.tensor
    store = Store(_panel_name(name) if name in match.panels else _row_name(name), ())
    value = _localised(program, match, stage.value, copies)
    if isinstance(stage, Map):
        return replace(stage, value=value, store=store)
    return replace(stage, value=value, store=store, epilogue=_localised(program, match, stage.epilogue, copies))


def _copies(program: Program, match: Attention, lanes: int) -> dict[Load, Tensor]:
    """A local copy for every load that moves with the rows."""
    inside = {root(program, n) for n in (*match.panels, *match.rows)}
    exprs: list[Expr] = [match.scores]
    for stage in match.stages:
        exprs += [stage.value] + ([stage.epilogue] if isinstance(stage, Reduce) else [])
    found: dict[Load, Tensor] = {}
    for node in (n for e in exprs for n in e.walk() if isinstance(n, Load)):
        if root(program, node.tensor) in inside or match.row.name not in node.axes() or node in found:
            continue
        shape: tuple[Size, ...] = (match.key.size, lanes) if match.key.name in node.axes() else (lanes,)
        found[node] = _array(f"stage{len(found)}_", shape, program.tensors[node.tensor].dtype)
    return found


def _levels(match: Attention, stages: Sequence[Map | Reduce]) -> dict[str, int]:
    """The pass in which each local tensor is made; a reduction's result is there from the next pass on."""
    level = {_panel_name(match.first): 0}
    for stage in stages:
        exprs = (stage.value, stage.epilogue) if isinstance(stage, Reduce) else (stage.value,)
        at = max(
            (level[n.tensor] for e in exprs for n in e.walk() if isinstance(n, Load) and n.tensor in level), default=0
        )
        level[stage.store.tensor] = at + 1 if isinstance(stage, Reduce) else at
    return level


def _kept_panels(match: Attention, stages: Sequence[Map | Reduce], level: Mapping[str, int]) -> frozenset[str]:
    """Panels that are read from memory: by the second product or by a later pass."""
    kept = {_panel_name(match.weights)}
    for stage in stages:
        at = level[stage.store.tensor] - isinstance(stage, Reduce)
        for node in stage.value.walk():
            if isinstance(node, Load) and node.tensor.endswith("_panel_") and level[node.tensor] < at:
                kept.add(node.tensor)
    return frozenset(kept)


def _places(
    match: Attention, stages: Sequence[Map | Reduce], kept: frozenset[str], level: Mapping[str, int]
) -> tuple[tuple[str, int], ...]:
    """Which buffer each panel in memory has: one may take over the place of another that is read no more."""
    order = sorted(range(len(stages)), key=lambda i: (level[stages[i].store.tensor] - isinstance(stages[i], Reduce), i))
    passes = [level[stages[i].store.tensor] - isinstance(stages[i], Reduce) for i in order]
    weights = _panel_name(match.weights)
    last: dict[str, int] = {weights: sum(p <= level[weights] for p in passes)}
    for at, number in enumerate(order):
        for node in stages[number].value.walk():
            if isinstance(node, Load) and node.tensor.endswith("_panel_"):
                last[node.tensor] = max(at, last.get(node.tensor, 0))
    made = {_panel_name(match.first): -1}
    made |= {stages[i].store.tensor: at for at, i in enumerate(order) if stages[i].store.tensor in kept}
    free: list[int] = []  # per buffer: the stage that reads it last
    places = []
    for name, at in made.items():
        buffer = next((b for b, until in enumerate(free) if until <= at), len(free))
        if buffer == len(free):
            free.append(0)
        free[buffer] = last.get(name, at)
        places.append((name, buffer))
    return tuple(places)


def _factor(size: Size) -> str:
    text = size_text(size)
    return f"({text})" if text.startswith("-") else text


__all__ = ["Panel", "W", "panel_of"]
