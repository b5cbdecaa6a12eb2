"""What tile programs mean: run block by block, every thread with registers of its own, in numpy.

A register is the bits of its slots, ``[threads, slots]``. What a GPU may get wrong at random is wrong here every time:
shared memory that nobody wrote, copies nobody waited for, and threads that read or overwrite what others wrote or read
without a barrier between end the run with a sentence.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ....errors import LowBitInvalid
from .._types import LowBitType
from ._expression import Expression
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

_NOBODY, _MANY = -1, -2


def interpret(program: Program, tensors: Mapping[str, np.ndarray], grid: tuple[int, int]) -> None:
    """Run a program on arrays of bits (``uint8``, ``uint16``, ``uint32``), which it changes.

    Raises ``LowBitInvalid`` for an array that is not what the program takes, and where threads race.
    """
    sizes: dict[str, int] = {}
    for tensor in program.parameters:
        given = tensors[tensor.name]
        sizes |= {size: n for size, n in zip(tensor.shape, given.shape, strict=True) if isinstance(size, str)}
        want = tuple(sizes[size] if isinstance(size, str) else size for size in tensor.shape)
        if given.shape != want or given.dtype.itemsize * 8 != tensor.element.bits or given.dtype.kind != "u":
            raise LowBitInvalid(f"{tensor.name} is {given.dtype} of shape {given.shape}; it is bits of shape {want}.")
    for y, x in itertools.product(range(grid[1]), range(grid[0])):
        block = _Block(program.threads, dict(tensors), {**sizes, "block_x": x, "block_y": y})
        block.run(program.body)


def to_bits(values: np.ndarray, element: Element) -> np.ndarray:
    """Float64 values as bits of a type, rounded to nearest even."""
    if element == F32:
        return values.astype(np.float32).view(np.uint32)
    if element == F16:
        return values.astype(np.float16).view(np.uint16)
    if element == BF16:  # by way of float32: it holds whatever is rounded here exactly
        wide = values.astype(np.float32).view(np.uint32)
        rounded = ((wide + 0x7FFF + (wide >> 16 & 1)) >> 16).astype(np.uint16)
        return np.where(np.isnan(values), np.uint16(0x7FFF), rounded)
    raise LowBitInvalid(f"nothing is rounded to {element.name} here; weights are encoded before.")


def to_values(bits: np.ndarray, element: Element) -> np.ndarray:
    """What bits mean: float64."""
    if isinstance(element, LowBitType):
        return element.values().numpy()[bits]
    if element == BF16:
        return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    kind = (np.uint16, np.float16) if element == F16 else (np.uint32, np.float32)
    return bits.astype(kind[0]).view(kind[1]).astype(np.float64)


class _Block:
    """One block of threads."""

    def __init__(self, threads: int, memory: dict[str, np.ndarray], names: dict[str, int]) -> None:
        self.threads = threads
        self.memory = memory
        self.names = names
        self.registers: dict[str, np.ndarray] = {}
        self.written: dict[str, np.ndarray] = {}  # by whom since the last barrier, for each element of shared memory
        self.read: dict[str, np.ndarray] = {}
        self.groups: list[list[tuple[str, np.ndarray, np.ndarray]]] = []
        self.copies: list[tuple[str, np.ndarray, np.ndarray]] = []

    def run(self, body: Sequence[Instruction]) -> None:
        """The instructions in order, all threads taking each together."""
        for step in body:
            if isinstance(step, Loop):
                for self.names[step.name] in range(step.count):  # noqa: B020 (the name of the loop, not the loop)
                    self.run(step.body)
            elif isinstance(step, Load):
                self._load(step)
            elif isinstance(step, Store):
                self._store(step)
            elif isinstance(step, CopyAsync):
                self._begin_copy(step)
            elif isinstance(step, CopyCommit):
                self.groups.append(self.copies)
                self.copies = []
            elif isinstance(step, CopyWait):
                while len(self.groups) > step.pending:
                    self._finish(self.groups.pop(0))
            elif isinstance(step, Sync):
                for table in (*self.written.values(), *self.read.values()):
                    table[:] = _NOBODY
            else:
                self.registers[step.to.name] = self._computed(step)

    def _computed(self, step: View | Cast | Fill | Elementwise | Sum | Dot) -> np.ndarray:
        to = step.to
        if isinstance(step, View):
            return _bits_as(self.registers[step.source.name], step.source.element.bits, to.element.bits)
        if isinstance(step, Fill):
            return np.broadcast_to(to_bits(np.array(float(step.value)), to.element), (self.threads, to.layout.slots))
        if isinstance(step, Cast):
            return to_bits(self._values(step.source)[:, slots_of(to, step.source)], to.element)
        if isinstance(step, Elementwise):
            given = [self._values(source)[:, slots_of(to, source)] for source in step.sources]
            result = given[0] + given[1] if step.op == "add" else given[0] * given[1]
            return to_bits(result + given[2] if step.op == "fma" else result, to.element)
        if isinstance(step, Sum):
            whole = self._gathered(step.source).sum(step.axis, keepdims=True)
            return self._scattered(to_bits(whole, F32), to)
        a, b, total = (self._gathered(tile) for tile in (step.a, step.b, to))
        with np.errstate(invalid="ignore", over="ignore"):
            return self._scattered(to_bits(total + a @ b, F32), to)

    def _values(self, tile: Register) -> np.ndarray:
        return to_values(self.registers[tile.name], tile.element)

    def _gathered(self, tile: Register) -> np.ndarray:
        """The whole tile. Threads that hold the same element must agree about it."""
        whole = np.zeros(tile.layout.shape)
        at = tuple(np.moveaxis(tile.layout.indices(), 2, 0))
        whole[at] = self._values(tile)
        if not np.array_equal(whole[at], self._values(tile), equal_nan=True):
            raise LowBitInvalid(f"the threads that hold copies of {tile.name} do not agree.")
        return whole

    def _scattered(self, whole: np.ndarray, tile: Register) -> np.ndarray:
        return whole[tuple(np.moveaxis(tile.layout.indices(), 2, 0))]

    def _load(self, step: Load) -> None:
        places, inside = self._places(step.source, step.at, step.to.layout.indices())
        if isinstance(step.source, Shared):
            self._look(step.source, places)
        data = self._data(step.source).reshape(-1)
        self.registers[step.to.name] = np.where(inside, data[np.where(inside, places, 0)], 0)

    def _store(self, step: Store) -> None:
        places, inside = self._places(step.to, step.at, step.source.layout.indices())
        if isinstance(step.to, Shared):
            self._touch(step.to, places)
        data = self._data(step.to).reshape(-1)
        data[places[inside]] = self.registers[step.source.name][inside]

    def _begin_copy(self, step: CopyAsync) -> None:
        index = np.indices(step.shape).reshape(len(step.shape), -1).T
        to, _ = self._places(step.to, step.to_at, index)
        self._data(step.to)
        if (self.read[step.to.name][to] != _NOBODY).any():
            raise LowBitInvalid(f"a copy overwrites what was read from {step.to.name} since the last barrier.")
        self.written[step.to.name][to] = _MANY  # nobody may read it before the next barrier
        source, inside = self._places(step.source, step.source_at, index)
        data = self._data(step.source).reshape(-1)
        self.copies.append((step.to.name, to, np.where(inside, data[np.where(inside, source, 0)], 0)))
        self.memory[step.to.name].reshape(-1)[to] = self._unknown(step.to)

    def _finish(self, group: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
        for name, places, data in group:
            self.memory[name].reshape(-1)[places] = data
            self.written[name][places] = _MANY

    def _places(self, memory: Memory, at: Sequence[Expression], index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where elements lie in flat memory, and whether they lie in the tensor at all."""
        shape = [self.names[size] if isinstance(size, str) else size for size in memory.shape]
        first = np.array([part.value_in(self.names) for part in at])
        lead = len(shape) - index.shape[-1]
        whole = np.concatenate([np.zeros((*index.shape[:-1], lead), np.int64), index], -1) + first
        inside = (whole < shape).all(-1)
        if isinstance(memory, Shared) and not inside.all():
            raise LowBitInvalid(f"a tile ends beyond the end of {memory.name}.")
        steps = np.cumprod([1, *shape[:0:-1]])[::-1]
        return (whole * steps).sum(-1), inside

    def _data(self, memory: Memory) -> np.ndarray:
        if memory.name not in self.memory:
            assert isinstance(memory, Shared)
            kind = {8: np.uint8, 16: np.uint16, 32: np.uint32}[memory.element.bits]
            self.memory[memory.name] = np.full(memory.shape, self._unknown(memory), kind)
            for table in (self.written, self.read):
                table[memory.name] = np.full(self.memory[memory.name].size, _NOBODY)
        return self.memory[memory.name]

    def _unknown(self, memory: Shared) -> int:
        return 2**memory.element.bits - 1  # NaN in every wide type

    def _look(self, memory: Shared, places: np.ndarray) -> None:
        self._data(memory)
        threads = np.broadcast_to(np.arange(self.threads)[:, None], places.shape)
        by = self.written[memory.name][places]
        if ((by != _NOBODY) & (by != threads)).any():
            raise LowBitInvalid(f"threads read what others wrote to {memory.name} since the last barrier.")
        _mark(self.read[memory.name], places, threads)

    def _touch(self, memory: Shared, places: np.ndarray) -> None:
        self._data(memory)
        threads = np.broadcast_to(np.arange(self.threads)[:, None], places.shape)
        for table in (self.read, self.written):
            by = table[memory.name][places]
            if ((by != _NOBODY) & (by != threads)).any():
                raise LowBitInvalid(f"threads overwrite what others use in {memory.name} since the last barrier.")
        _mark(self.written[memory.name], places, threads)


def slots_of(to: Register, source: Register) -> np.ndarray:
    """For each slot of ``to`` the slot of ``source`` in the same thread with the same element, sizes of 1 broadcast."""
    wanted = to.layout.slot_offsets * (np.array(source.layout.shape) > 1)
    where = {tuple(offset): slot for slot, offset in enumerate(source.layout.slot_offsets.tolist())}
    return np.array([where[tuple(offset)] for offset in wanted.tolist()])


def _bits_as(bits: np.ndarray, width: int, new: int) -> np.ndarray:
    """The stream of every thread's bits, lowest first, cut anew."""
    stream = (bits[..., None].astype(np.uint64) >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    cut = stream.reshape(len(bits), -1, new) << np.arange(new, dtype=np.uint64)
    kind = np.uint8 if new <= 8 else np.uint16 if new == 16 else np.uint32
    return cut.sum(-1).astype(kind)


def _mark(table: np.ndarray, places: np.ndarray, threads: np.ndarray) -> None:
    before = table[places]
    table[places] = np.where((before == _NOBODY) | (before == threads), threads, _MANY)
    taken = table[places]
    table[places[(taken != threads)]] = _MANY
