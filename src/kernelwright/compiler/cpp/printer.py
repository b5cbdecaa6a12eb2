"""Scalar expressions as C++ statements, for one value or for sixteen lanes of one axis at a time.

Everything that generates C++ prints its values through this one class: elementwise kernels, reductions, and the
prologues and epilogues of contractions. It decides per load how memory is read: one element and a splat, a vector, a
strided gather, lane by lane, and whether bounds need checking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..program import Acc, Const, Expr, Index, Iota, Load, Op, Program, Store, Tensor, Value
from ._indices import Ranges, bounds, flatten, index_text, repeated, size_text, static
from ._operators import constant_text, convert_text, op_text, scalar_type, vector_type

_STORE_TYPES = {
    "float32": "float", "float64": "double", "bfloat16": "kw::bf16", "float16": "kw::f16", "int64": "int64_t",
    "int32": "int32_t", "int16": "int16_t", "int8": "int8_t", "uint8": "uint8_t", "bool": "kw::b8",
}  # fmt: skip


def store_type(dtype: str) -> str:
    """The C++ type of an element in memory."""
    return _STORE_TYPES[dtype]


def value_type(dtype: str, *, vector: bool) -> str:
    """The C++ type of a value in flight; half types widen to float, narrow integers to int32, bool lanes are masks."""
    return vector_type(dtype) if vector else scalar_type(dtype)


@dataclass(frozen=True)
class Temp:
    """A C++ variable (or literal) that holds a value; ``vector`` says sixteen lanes or one value for all."""

    name: str
    dtype: str
    vector: bool


class Printer:
    """Prints expressions of ``program`` into ``lines``.

    ``lane`` is the axis whose 16 consecutive values are the lanes (its variable holds lane 0's value; None prints
    scalar code), ``count`` a C++ int with the number of valid lanes (None: all 16), ``acc`` the variable that
    :class:`Acc` stands for. ``ranges`` bounds axis variables, so that needless bounds checks vanish. ``known`` gives
    tensors that are one value here (row-local results). ``stream`` names tensors to be written by non-temporal stores.
    ``prefix`` starts the names of temporaries.
    """

    def __init__(
        self,
        program: Program,
        *,
        lane: str | None,
        count: str | None = None,
        acc: str | None = None,
        ranges: Ranges | None = None,
        known: Mapping[str, Temp] | None = None,
        stream: frozenset[str] = frozenset(),
        prefix: str = "v",
    ) -> None:
        self.program, self.lane, self.count, self.acc = program, lane, count, acc
        self.ranges: Ranges = ranges or {}
        self.known = dict(known or {})
        self.stream, self.prefix = stream, prefix
        self.lines: list[str] = []
        self._stored: dict[tuple[str, tuple[Index, ...]], Temp] = {}
        self._numbers: dict[object, Temp] = {}  # value numbering: equal computations share a variable
        self._memo: dict[int, tuple[Expr, Temp]] = {}  # keeps the expression alive, so ids stay unique

    # ── public ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, expr: Expr) -> str:
        """Print an expression; the result names a vector when there are lanes, else a scalar."""
        return self.widened(self.temp(expr)).name if self.lane else self.temp(expr).name

    def temp(self, expr: Expr) -> Temp:
        """Print an expression; a value that is the same in every lane stays scalar."""
        memo = self._memo.get(id(expr))
        if memo is None:
            memo = self._memo[id(expr)] = (expr, self._print(expr))
        return memo[1]

    def widened(self, temp: Temp) -> Temp:
        """The same value in all lanes."""
        if temp.vector:
            return temp
        kind = vector_type(temp.dtype)
        text = f"kw::splat_mask({temp.name})" if temp.dtype == "bool" else f"kw::splat<{kind}>({temp.name})"
        return self._define(("splat", temp.name), text, temp.dtype, True)

    def store(self, store: Store, value: str | Temp, dtype: str) -> None:
        """Write a value of ``dtype`` (a variable as :meth:`value` returns it, or a :class:`Temp`)."""
        temp = value if isinstance(value, Temp) else Temp(value, dtype, self.lane is not None)
        tensor = self.program.tensors[store.tensor]
        temp = self.converted(temp, _computed(tensor.dtype))
        self._write(tensor, flatten(tensor, store.index), temp)
        self._stored[(store.tensor, store.index)] = temp

    def forward(self, store: Store, temp: Temp) -> None:
        """Let later loads of this element find the value without writing it anywhere."""
        tensor = self.program.tensors[store.tensor]
        self._stored[(store.tensor, store.index)] = self.converted(temp, _computed(tensor.dtype))

    def bind(self, values: Mapping[tuple[str, tuple[Index, ...]], Temp]) -> None:
        """Loads of these elements are these variables."""
        for (tensor, index), temp in values.items():
            self._numbers[("load", tensor, index, None)] = temp

    def forget_acc(self) -> None:
        """Forget what was printed for an earlier accumulator."""
        self._memo.clear()

    def converted(self, temp: Temp, dtype: str) -> Temp:
        """The value as another dtype, by torch's casting rules."""
        if temp.dtype == dtype:
            return temp
        return self._define(("cast", temp.name, dtype), convert_text(temp.name, temp, dtype), dtype, temp.vector)

    def index(self, index: Index) -> str:
        """An index as an ``int64_t`` expression (of lane 0 where it depends on the lane axis)."""
        return index_text(index, self._gathered)

    def address(self, tensor: str, index: tuple[Index, ...]) -> str:
        """The element offset of ``tensor[index]`` (of lane 0 where it depends on the lane axis)."""
        return self.index(flatten(self.program.tensors[tensor], index))

    def pointer(self, tensor: str) -> str:
        """The C++ pointer of a tensor: that of the memory it shares, if any."""
        found = self.program.tensors[tensor]
        return found.name if found.alias is None else self.pointer(found.alias)

    # ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _define(self, key: object, text: str, dtype: str, vector: bool) -> Temp:
        temp = self._numbers.get(key)
        if temp is None:
            name = f"{self.prefix}{len(self._numbers)}"
            temp = self._numbers[key] = Temp(name, dtype, vector)
            self.lines.append(f"const {value_type(dtype, vector=vector)} {name} = {text};")
        return temp

    def _print(self, expr: Expr) -> Temp:
        if isinstance(expr, Const):
            return Temp(constant_text(expr), expr.dtype, False)
        if isinstance(expr, Acc):
            assert self.acc is not None, "an epilogue needs the accumulator's variable"
            return Temp(self.acc, expr.dtype, self.lane is not None)
        if isinstance(expr, Load):
            return self._load(expr)
        if isinstance(expr, Iota):
            return self._iota(expr)
        return self._op(expr)

    def _op(self, expr: Op) -> Temp:
        if self.lane is not None and expr.name == "where" and (branch := self._branch(expr)):
            return branch
        args = [self.temp(a) for a in expr.args]
        if expr.name == "cast":
            return self.converted(args[0], expr.dtype)
        wanted = operand_dtypes(expr, [a.dtype for a in args])
        args = [self.converted(a, d) for a, d in zip(args, wanted, strict=True)]
        vector = any(a.vector for a in args)
        if vector:
            args = [self.widened(a) for a in args]
        names = [a.name for a in args]
        key = (expr.name, *names, expr.dtype)
        return self._define(key, op_text(expr, wanted, names, vector), expr.dtype, vector)

    def _branch(self, expr: Op) -> Temp | None:
        """A choice that is the same for all lanes, as a branch: of the arms only the chosen one is read."""
        arms = expr.args[1:]
        if not all(isinstance(a, Const) or self._plain(a, expr.dtype) for a in arms):
            return None
        if not any(isinstance(a, Load) for a in arms):
            return None
        condition = self.temp(expr.args[0])
        if condition.vector:
            return None
        texts = []
        for arm in arms:
            if isinstance(arm, Load):
                texts.append(self._load_text(arm, self.program.tensors[arm.tensor])[0])
            else:
                texts.append(self.widened(self.converted(self._print(arm), expr.dtype)).name)
        key = ("branch", condition.name, *texts)
        return self._define(key, f"{condition.name} ? {texts[0]} : {texts[1]}", expr.dtype, True)

    def _plain(self, expr: Expr, dtype: str) -> bool:
        """Is it a load of whole vectors, of this dtype, from memory that nothing here has read or written?"""
        if not isinstance(expr, Load) or expr.tensor in self.known or (expr.tensor, expr.index) in self._stored:
            return False
        tensor = self.program.tensors[expr.tensor]
        known = ("load", expr.tensor, expr.index, expr.fill) in self._numbers
        whole = expr.fill is None and self._step(flatten(tensor, expr.index)) == 1
        return whole and not known and expr.dtype == _computed(tensor.dtype) == dtype != "bool"

    def _iota(self, expr: Iota) -> Temp:
        key = ("iota", expr.index, expr.dtype)
        step = self._step(expr.index)
        if step == 0:
            return self._define(
                key, f"static_cast<{scalar_type(expr.dtype)}>({self.index(expr.index)})", expr.dtype, False
            )
        if step is None:
            whole = self._define(("iota", expr.index), self._by_lane("kw::vl", expr.index), "int64", True)
        elif expr.dtype == "int32" and static(step) is not None:
            text = f"kw::iota() * int32_t({size_text(step)}) + int32_t({self.index(expr.index)})"
            return self._define(key, text, "int32", True)
        else:
            text = f"kw::iota_l() * int64_t({size_text(step)}) + int64_t({self.index(expr.index)})"
            whole = self._define(("iota", expr.index), text, "int64", True)
        return self.converted(whole, expr.dtype)

    def _by_lane(self, kind: str, index: Index) -> str:
        inner = self._scalar()
        text = inner.index(index)
        body = " ".join([*inner.lines, f"return {text};"])
        return f"kw::lanes<{kind}>({self.lane}, {self._count}, [&](const int64_t {self.lane}) {{ {body} }})"

    def _gathered(self, atom: Value) -> str:
        temp = self.temp(atom.expr)
        assert not temp.vector, "a gather that depends on the lane axis is printed lane by lane"
        return f"static_cast<int64_t>({temp.name})"

    def _scalar(self) -> Printer:
        known = {name: temp for name, temp in self.known.items() if not temp.vector}
        return Printer(self.program, lane=None, ranges=self.ranges, known=known, prefix=self.prefix + "s")

    @property
    def _count(self) -> str:
        return self.count or "kw::W"

    def _step(self, index: Index) -> int | object | None:
        """What one lane adds to an index: 0, a size, or None when it is not affine in the lane axis."""
        if self.lane is None or self.lane not in index.axes():
            return 0
        rest = Index(tuple((t, c) for t, c in index.terms if not isinstance(t, str)), 0)
        if self.lane in rest.axes():
            return None
        step = index.coefficient(self.lane)
        return step if (value := static(step)) is None else value

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, expr: Load) -> Temp:
        if expr.tensor in self.known:
            return self.converted(self.known[expr.tensor], expr.dtype)
        stored = self._stored.get((expr.tensor, expr.index))
        tensor = self.program.tensors[expr.tensor]
        if stored is not None:
            return self.converted(self._rounded(stored, tensor.dtype), expr.dtype)
        key = ("load", expr.tensor, expr.index, expr.fill)
        found = self._numbers.get(key)
        if found is None:
            kind = _computed(tensor.dtype)
            text, vector = self._load_text(expr, tensor)
            found = self._define(key, text, kind, vector)
        return self.converted(found, expr.dtype)

    def _rounded(self, temp: Temp, dtype: str) -> Temp:
        """What a load gives after this value was stored."""
        if dtype not in ("bfloat16", "float16"):
            return temp
        name = f"round_to_{dtype}"
        return self._define((name, temp.name), f"kw::{name}({temp.name})", "float32", temp.vector)

    def _load_text(self, expr: Load, tensor: Tensor) -> tuple[str, bool]:
        flat = flatten(tensor, expr.index)
        checked = [d for d in range(len(expr.index)) if expr.fill is not None and not self._inside(expr, tensor, d)]
        steps = [self._step(expr.index[d]) for d in checked]
        step, suffix = self._step(flat), "_bool" if tensor.dtype == "bool" else ""
        if step == 0 and all(s == 0 for s in steps):
            access = f"kw::get{suffix}({self.pointer(expr.tensor)} + {self.index(flat)})"
            return self._guarded(access, expr, tensor, checked), False
        backwards = step == -1 and not checked
        if step is None and (text := self._load_repeated(expr, tensor, flat, checked)):
            return text, True
        if step is None or step == 0 or None in steps or (_negative(step) and not backwards):
            return self._load_lanes(expr, tensor), True  # before the index is printed: a gather has none for all lanes
        where = f"{self.pointer(expr.tensor)} + {self.index(flat)}"
        if backwards:
            return f"kw::load{suffix}_reversed({where}, {self._count})", True
        if checked:
            return self._load_masked(expr, tensor, where, step, checked), True
        if step == 1:
            return f"kw::load{suffix}({where}, {self._count})", True
        return f"kw::gather{suffix}({where}, {size_text(step)}, {self._count})", True

    def _load_repeated(self, expr: Load, tensor: Tensor, flat: Index, checked: list[int]) -> str | None:
        """Lanes that read every element several times, because the index is a quotient along them."""
        atom = repeated(flat, self.lane) if self.lane else None
        if atom is None or tensor.dtype == "bool":
            return None
        along = [d for d in checked if self._step(expr.index[d]) is None]
        if any(repeated(expr.index[d], str(self.lane)) != atom for d in along):
            return None
        if any(self._step(expr.index[d]) != 0 for d in checked if d not in along):
            return None
        divisor = size_text(atom.divisor)
        first = f"int(kw::floor_mod({self.index(atom.index)}, {divisor}))"
        where = f"{self.pointer(expr.tensor)} + {self.index(flat)}"
        if not checked:
            return f"kw::repeat<{divisor}>({where}, {first}, {self._count})"
        low, high = "0", "kw::W"
        if along:
            (dim,) = along
            begin = self.index(expr.index[dim])
            low, high = f"-({begin})", f"{size_text(tensor.shape[dim])} - ({begin})"
        if others := [d for d in checked if d not in along]:
            high = f"{' && '.join(self._condition(expr, tensor, d) for d in others)} ? {high} : 0"
        return f"kw::repeat<{divisor}>({where}, {first}, {self._count}, {low}, {high}, {self._fill(expr, tensor)})"

    def _inside(self, expr: Load, tensor: Tensor, dim: int) -> bool:
        span, size = bounds(expr.index[dim], self.ranges), static(tensor.shape[dim])
        return span is not None and size is not None and span[0] >= 0 and span[1] < size

    def _condition(self, expr: Load, tensor: Tensor, dim: int) -> str:
        """0 <= index < size in one comparison."""
        return f"uint64_t({self.index(expr.index[dim])}) < uint64_t({size_text(tensor.shape[dim])})"

    def _guarded(self, access: str, expr: Load, tensor: Tensor, checked: list[int]) -> str:
        if not checked:
            return access
        condition = " && ".join(self._condition(expr, tensor, d) for d in checked)
        return f"{condition} ? {access} : {self._fill(expr, tensor)}"

    def _fill(self, expr: Load, tensor: Tensor) -> str:
        assert expr.fill is not None
        return constant_text(Const(expr.fill, _computed(tensor.dtype)))

    def _load_masked(self, expr: Load, tensor: Tensor, where: str, step: object, checked: list[int]) -> str:
        mask = f"kw::first({self.count})" if self.count else ""
        for dim in checked:
            stride = self._step(expr.index[dim])
            if stride == 0:
                part = f"kw::splat_mask({self._condition(expr, tensor, dim)})"
            else:
                base = f"int32_t({self.index(expr.index[dim])})"
                lanes = "kw::iota()" if stride == 1 else f"kw::iota() * int32_t({size_text(stride)})"
                part = f"kw::inside({lanes} + {base}, int32_t({size_text(tensor.shape[dim])}))"
            mask = f"{mask} & {part}" if mask else part
        name = self._define(("mask", mask), mask, "bool", True).name
        suffix = "_bool" if tensor.dtype == "bool" else ""
        access = f"kw::load{suffix}_mask({where}, {name})"
        if step != 1:
            access = f"kw::gather{suffix}_mask({where}, {size_text(step)}, {name})"
        if expr.fill == 0:
            return access
        kind = vector_type(_computed(tensor.dtype))
        fill = self._fill(expr, tensor)
        splat = f"kw::splat_mask({fill})" if tensor.dtype == "bool" else f"kw::splat<{kind}>({fill})"
        return f"kw::select({name}, {access}, {splat})"

    def _load_lanes(self, expr: Load, tensor: Tensor) -> str:
        inner = self._scalar()
        result = inner.temp(expr)
        body = " ".join([*inner.lines, f"return {result.name};"])
        call = "lanes_mask" if tensor.dtype == "bool" else f"lanes<{vector_type(_computed(tensor.dtype))}>"
        return f"kw::{call}({self.lane}, {self._count}, [&](const int64_t {self.lane}) {{ {body} }})"

    def _write(self, tensor: Tensor, flat: Index, temp: Temp) -> None:
        suffix = "_bool" if tensor.dtype == "bool" else ""
        step = self._step(flat)
        pointer = self.pointer(tensor.name)
        if step is None:
            self._write_lanes(pointer, tensor, flat, self.widened(temp))
            return
        where = f"{pointer} + {self.index(flat)}"
        if step == 0:
            assert not temp.vector, f"{tensor.name} is written at one place by all lanes"
            self.lines.append(f"kw::put({where}, {temp.name});")
            return
        name = self.widened(temp).name
        if step != 1:
            self.lines.append(f"kw::scatter{suffix}({where}, {name}, {size_text(step)}, {self._count});")
        elif tensor.name in self.stream and not suffix:
            self.lines.append(f"kw::stream({where}, {name}, {self._count});")
        else:
            self.lines.append(f"kw::store{suffix}({where}, {name}, {self._count});")

    def _write_lanes(self, pointer: str, tensor: Tensor, flat: Index, temp: Temp) -> None:
        inner = self._scalar()
        offset = inner.index(flat)
        lane = f"{temp.name}[k] != 0" if tensor.dtype == "bool" else f"{temp.name}[k]"
        body = " ".join([*inner.lines, f"kw::put({pointer} + {offset}, {lane});"])
        self.lines.append(
            f"kw::each_lane({self.lane}, {self._count}, [&](const int64_t {self.lane}, int k) {{ {body} }});"
        )


def _computed(dtype: str) -> str:
    return "float32" if dtype in ("bfloat16", "float16") else dtype


def _negative(step: object) -> bool:
    return isinstance(step, int) and step < 0


_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_ORDER = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def operand_dtypes(expr: Op, dtypes: list[str]) -> list[str]:
    """The dtypes an operation wants its operands in."""
    if expr.name == "where":
        return ["bool", expr.dtype, expr.dtype]
    if expr.name in ("and", "or", "xor", "not"):
        return ["bool"] * len(dtypes)
    if expr.name in _COMPARISONS:
        return [max(dtypes, key=_ORDER.index)] * len(dtypes)
    if expr.name in ("isnan", "isinf"):
        return dtypes
    return [expr.dtype] * len(dtypes)
