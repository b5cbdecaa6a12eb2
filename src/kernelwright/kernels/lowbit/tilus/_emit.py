"""A tile program as CUDA C++: one kernel, every tile an array of words that the compiler keeps in registers.

Slots lie packed in words, so that a view is another name for the same words. Where a tile lies is a part that depends
on the thread plus a constant for each slot, since layouts are sums of digits; accesses are as wide as slots are
neighbours in memory and their addresses are known to be aligned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....errors import LowBitInvalid
from .._types import LowBitType
from ._casts import pair
from ._expression import Expression
from ._fragments import fragments
from ._interpret import slots_of
from ._layout import Digit, Layout
from ._program import (
    BF16,
    F16,
    F32,
    Cast,
    CopyAsync,
    CopyCommit,
    CopyWait,
    Dot,
    Element,
    Elementwise,
    Fill,
    Global,
    Instruction,
    Load,
    Loop,
    Memory,
    Program,
    Register,
    Shared,
    Store,
    Sum,
    Sync,
    View,
)

MOST_SHARED = 48 << 10  # bytes that a kernel may declare
_CPP = {8: "uint8_t", 16: "uint16_t", 32: "uint32_t"}


def emit(program: Program) -> str:
    """The kernel's text; its parameters are the tensors, then the sizes.

    Raises ``LowBitInvalid`` where shared memory does not suffice, or tiles do not lie as the matrix units need them.
    """
    return _Kernel(program).text()


@dataclass(frozen=True)
class _Piece:
    """Neighbouring slots that one access takes: the first, how many, and where the first lies in the tile."""

    slot: int
    count: int
    offset: tuple[int, ...]


class _Kernel:
    """The lines of one kernel, as they are written."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lines: list[str] = []
        self.depth = 1
        self.known: set[str] = set()

    def text(self) -> str:
        """All of it."""
        program = self.program
        written = {step.to.name for step in program.instructions() if isinstance(step, Store)}
        tensors = [
            f"{'' if p.name in written else 'const '}{_CPP[p.element.bits]}* __restrict__ {p.name}"
            for p in program.parameters
        ]
        self._shared()
        self._write("const int thread = threadIdx.x, block_x = blockIdx.x, block_y = blockIdx.y;")
        if any(isinstance(step, CopyAsync) for step in program.instructions()):
            self._write("kw::tilus::copy_begin();")
        self._body(program.body)
        heads = ", ".join([*tensors, *(f"int64_t {size}" for size in program.sizes)])
        bounds = f"__launch_bounds__({program.threads})"
        return "\n".join(
            [f'extern "C" __global__ void {bounds} {program.name}({heads}) {{', *self.lines, "}", ""],
        )

    def _shared(self) -> None:
        found: dict[str, Shared] = {}
        for step in self.program.instructions():
            for what in (getattr(step, "to", None), getattr(step, "source", None)):
                if isinstance(what, Shared):
                    found[what.name] = what
        sizes = {name: -(-math.prod(s.shape) * s.element.bits // 8 // 16) * 16 for name, s in found.items()}
        if sum(sizes.values()) > MOST_SHARED:
            raise LowBitInvalid(
                f"the program needs {sum(sizes.values())} bytes of shared memory; a block has {MOST_SHARED}."
            )
        for name, tensor in found.items():
            kind = _CPP[tensor.element.bits]
            self._write(f"alignas(16) __shared__ {kind} {name}[{sizes[name] * 8 // tensor.element.bits}];")

    def _write(self, *lines: str) -> None:
        self.lines += ["  " * self.depth + line for line in lines]

    def _body(self, body: Sequence[Instruction]) -> None:
        for step in body:
            if isinstance(step, Loop):
                self._write(
                    "#pragma unroll 1", f"for (int {step.name} = 0; {step.name} < {step.count}; ++{step.name}) {{"
                )
                self.depth += 1
                self._body(step.body)
                self.depth -= 1
                self._write("}")
            elif isinstance(step, Sync):
                self._write("__syncthreads();")
            elif isinstance(step, CopyCommit):
                self._write("kw::tilus::copy_commit();")
            elif isinstance(step, CopyWait):
                self._write(f"kw::tilus::copy_wait<{step.pending}>();")
            elif isinstance(step, CopyAsync):
                self._copy(step)
            elif isinstance(step, Store):
                self._store(step)
            elif isinstance(step, View):
                self._write(f"uint32_t(&{step.to.name})[{_words(step.to)}] = {step.source.name};")
            else:
                if step.to.name not in self.known and not isinstance(step, Dot):
                    self.known.add(step.to.name)
                    self._write(f"uint32_t {step.to.name}[{_words(step.to)}];")
                self._compute(step)

    def _compute(self, step: Load | Cast | Fill | Elementwise | Sum | Dot) -> None:
        if isinstance(step, Load):
            self._load(step)
        elif isinstance(step, Cast):
            self._cast(step)
        elif isinstance(step, Fill):
            word = _filled(step.value, step.to.element)
            self._write(f"for (int k = 0; k < {_words(step.to)}; ++k) {step.to.name}[k] = {word};")
        elif isinstance(step, Elementwise):
            self._elementwise(step)
        elif isinstance(step, Sum):
            self._sum(step)
        else:
            kind = step.a.element.name
            for c, a, b in fragments(step.to.layout, step.a.layout, step.b.layout):
                tiles = f"{step.to.name} + {c * 4}, {step.a.name} + {a * 4}, {step.b.name} + {b * 2}"
                self._write(f"kw::tilus::mma_{kind}({tiles});")

    def _cast(self, step: Cast) -> None:
        to, source = step.to, step.source
        slots = slots_of(to, source)
        name = to.name
        if to.element == F32:
            for slot, at in enumerate(slots):
                self._write(f"{name}[{slot}] = __float_as_uint({_value(source, int(at))});")
            return
        for word in range(_words(to)):
            low, high = int(slots[2 * word]), int(slots[min(2 * word + 1, len(slots) - 1)])
            if isinstance(source.element, LowBitType):
                lines = pair(source.element, to.element, source.name, (low, high))  # type: ignore[arg-type]
                self._write("{", *(f"  {line}" for line in lines), f"  {name}[{word}] = pair;", "}")
            else:
                values = f"{_value(source, low)}, {_value(source, high)}"
                self._write(f"{name}[{word}] = kw::tilus::pair_{to.element.name}({values});")

    def _elementwise(self, step: Elementwise) -> None:
        to = step.to
        where = [slots_of(to, source) for source in step.sources]
        results = []
        for slot in range(to.layout.slots):
            a, b, *c = (_value(source, int(slots[slot])) for source, slots in zip(step.sources, where, strict=True))
            results.append(
                {"add": f"{a} + {b}", "mul": f"{a} * {b}", "fma": f"fmaf({a}, {b}, {c[0] if c else 0})"}[step.op]
            )
        if to.element == F32:
            self._write(*(f"{to.name}[{slot}] = __float_as_uint({text});" for slot, text in enumerate(results)))
            return
        for word in range(_words(to)):
            both = (results[2 * word], results[min(2 * word + 1, len(results) - 1)])
            self._write(f"{to.name}[{word}] = kw::tilus::pair_{to.element.name}({', '.join(both)});")

    def _sum(self, step: Sum) -> None:
        """Each thread sums its own slots, then the lanes along the axis meet."""
        to, source = step.to, step.source
        parts: list[list[str]] = [[] for _ in range(to.layout.slots)]
        kept = {tuple(offset): slot for slot, offset in enumerate(to.layout.slot_offsets.tolist())}
        for slot, offset in enumerate(source.layout.slot_offsets.tolist()):
            offset[step.axis] = 0
            parts[kept[tuple(offset)]].append(_value(source, slot))
        lanes = _lanes(source.layout.spatial, step.axis)
        for slot, terms in enumerate(parts):
            self._write(f"{{ float total = {' + '.join(terms)};")
            self._write(*(f"  total += kw::from_lane_across(total, {lane});" for lane in lanes))
            self._write(f"  {to.name}[{slot}] = __float_as_uint(total); }}")

    def _load(self, step: Load) -> None:
        to, bits = step.to, step.to.element.bits
        name = to.name
        if to.layout.slots * bits % 32 or any(p.count * bits < 32 for p in _pieces(to.layout, step.source, step.at)):
            self._write(f"for (int k = 0; k < {_words(to)}; ++k) {name}[k] = 0;")
        for piece in _pieces(to.layout, step.source, step.at):
            place, inside = self._place(step.source, step.at, to.layout.spatial, piece.offset)
            word, shift = divmod(piece.slot * bits, 32)
            size = piece.count * bits // 8
            if size < 4:
                read = f"uint32_t({step.source.name}[{place}])"
                line = f"{name}[{word}] |= {read} << {shift};" if shift else f"{name}[{word}] |= {read};"
                self._write(f"if ({inside}) {line}" if inside else line)
                continue
            count = size // 4
            read = f"kw::load<{count}>(reinterpret_cast<const uint32_t*>({step.source.name} + {place}))"
            taken = " ".join(f"{name}[{word + k}] = got[{k}];" for k in range(count))
            begin = f"if ({inside}) " if inside else ""
            other = f" else {{ {' '.join(f'{name}[{word + k}] = 0;' for k in range(count))} }}" if inside else ""
            self._write(f"{begin}{{ const auto got = {read}; {taken} }}{other}")

    def _store(self, step: Store) -> None:
        source, bits = step.source, step.source.element.bits
        for piece in _pieces(source.layout, step.to, step.at):
            place, inside = self._place(step.to, step.at, source.layout.spatial, piece.offset)
            word, shift = divmod(piece.slot * bits, 32)
            size = piece.count * bits // 8
            if size < 4:
                line = f"{step.to.name}[{place}] = {_CPP[bits]}({source.name}[{word}] >> {shift});"
            else:
                given = ", ".join(f"{source.name}[{word + k}]" for k in range(size // 4))
                line = (
                    f"kw::store(reinterpret_cast<uint32_t*>({step.to.name} + {place}), "
                    f"kw::Pack<uint32_t, {size // 4}>{{{{{given}}}}});"
                )
            self._write(f"if ({inside}) {line}" if inside else line)

    def _copy(self, step: CopyAsync) -> None:
        size = step.to.element.bits // 8
        wide = _aligned((step.source, step.source_at), (step.to, step.to_at))
        wide = math.gcd(wide, step.shape[-1], 16 // size)
        shape = (*step.shape[:-1], step.shape[-1] // wide)
        total, threads = math.prod(shape), self.program.threads
        digits, left = [], total
        for axis, n in enumerate(shape):
            left //= n
            digits.append(f"piece / {left} % {n}{f' * {wide}' if axis == len(shape) - 1 else ''}")
        self._write(f"for (int piece = thread; piece < {total}; piece += {threads}) {{")
        to, _ = self._place(step.to, step.to_at, (), (0,) * len(shape), digits)
        source, inside = self._place(step.source, step.source_at, (), (0,) * len(shape), digits)
        if wide * size >= 4:
            call = (
                f"kw::tilus::copy_async<{wide * size}>({step.to.name} + {to}, {step.source.name} + {source}, {inside});"
            )
            self._write(f"  {call}")
        else:  # too narrow for the copy engine
            self._write(f"  {step.to.name}[{to}] = {inside} ? {step.source.name}[{source}] : 0;")
        self._write("}")

    def _place(
        self,
        memory: Memory,
        at: Sequence[Expression],
        spatial: Sequence[Digit],
        offset: Sequence[int],
        more: Sequence[str] = (),
    ) -> tuple[str, str]:
        """The element's number in flat memory, and the condition that it lies in a global tensor."""
        rank, lead = len(offset), len(memory.shape) - len(offset)
        index = []
        for axis, begin in enumerate(at):
            terms = [] if begin == Expression.of(0) else [begin.cpp]
            if axis >= lead:
                terms += _thread_part(spatial, axis - lead) + ([more[axis - lead]] if more else [])
                terms += [str(offset[axis - lead])] if offset[axis - lead] else []
            index.append(" + ".join(terms) or "0")
        assert rank <= len(index)
        sums, step = [], 1
        for text, size in zip(reversed(index), [*reversed(memory.shape[1:]), 0], strict=True):
            if text != "0":
                cast = "int64_t" if isinstance(memory, Global) else "int"
                sums.append(f"{cast}({text}) * {step}" if step != 1 else f"({text})")
            step *= int(size)
        inside = [
            f"{text} < {size}" for text, size in zip(index, memory.shape, strict=True) if text != "0" and size != 1
        ]
        condition = " && ".join(inside) if isinstance(memory, Global) else ""
        return f"({' + '.join(reversed(sums)) or '0'})", f"({condition})" if condition else ""


def _thread_part(spatial: Sequence[Digit], axis: int) -> list[str]:
    """The terms of a thread's share of an index."""
    terms, below = [], 1
    for digit in reversed(spatial):
        if digit.axis == axis:
            number = f"thread / {below} % {digit.size}"
            terms.append(f"{number} * {digit.weight}" if digit.weight != 1 else number)
        below *= digit.size
    return terms[::-1]


def _lanes(spatial: Sequence[Digit], axis: int) -> list[int]:
    """By which steps lanes differ that share everything but their place along an axis."""
    found, below = [], 1
    for digit in reversed(spatial):
        if digit.axis == axis:
            if below * digit.size > 32 or digit.size & digit.size - 1 or below & below - 1:
                raise LowBitInvalid(f"axis {axis} lies across warps, or across {digit.size} threads: it is not summed.")
            found += [below << k for k in range(digit.size.bit_length() - 1)]
        below *= digit.size
    return found


def _pieces(layout: Layout, memory: Memory, at: Sequence[Expression]) -> list[_Piece]:
    """The accesses of a tile, as wide as they may be."""
    last = len(layout.shape) - 1
    wide = math.gcd(_aligned((memory, at)), 128 // memory.element.bits, layout.slots)
    wide = math.gcd(wide, *(digit.weight for digit in layout.spatial if digit.axis == last))
    offsets = layout.slot_offsets
    while wide > 1 and not _contiguous(offsets, wide):
        wide //= 2
    if 1 < wide * memory.element.bits < 32:
        wide = 1
    return [_Piece(slot, wide, tuple(offsets[slot].tolist())) for slot in range(0, layout.slots, wide)]


def _contiguous(offsets: np.ndarray, wide: int) -> bool:
    """Whether every ``wide`` slots lie side by side, from a multiple of it on."""
    groups = offsets.reshape(-1, wide, offsets.shape[1])
    step = np.zeros(groups.shape[1:], dtype=np.int64)
    step[:, -1] = np.arange(wide)
    return bool((groups == groups[:, :1] + step).all() and (groups[:, 0, -1] % wide == 0).all())


def _aligned(*places: tuple[Memory, Sequence[Expression]]) -> int:
    """How many elements from where a tile begins are known to lie in one aligned piece of each memory."""
    found = 0
    for memory, at in places:
        found = math.gcd(found, at[-1].divisor)
        if len(memory.shape) > 1:
            found = math.gcd(found, int(memory.shape[-1]))
        else:  # rows end anywhere
            found = math.gcd(found, memory.shape[0] if isinstance(memory.shape[0], int) else 1)
    return found & -found or 16


def _words(tile: Register) -> int:
    return -(-tile.layout.slots * tile.element.bits // 32)


def _value(tile: Register, slot: int) -> str:
    """A slot as a float."""
    if tile.element == F32:
        return f"__uint_as_float({tile.name}[{slot}])"
    return f"kw::tilus::{'half' if tile.element == F16 else 'bfloat'}_of({tile.name}[{slot // 2}], {slot % 2})"


def _filled(value: float, element: Element) -> str:
    if element == F32:
        return f"__float_as_uint({float(value)!r}f)"
    if element not in (F16, BF16):
        raise LowBitInvalid(f"{element.name} is not filled; only wide types are.")
    return f"kw::tilus::pair_{element.name}({float(value)!r}f, {float(value)!r}f)"
