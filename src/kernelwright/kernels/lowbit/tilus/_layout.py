"""Which thread of a block holds which elements of a tile, and in which of its registers: an algebra of such maps.

A layout cuts every axis of a tile into digits. The digits listed in ``spatial`` say, row-major, which thread holds an
element, those in ``local`` in which slot of that thread it lies. Everything that is done with layouts (products,
quotients, reductions, matching a matrix unit's fragments, wide accesses) is then arithmetic on two short lists.

Source: Tilus (arXiv 2504.12984), section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....errors import LowBitInvalid

REPLICA = -1
"""The axis of a digit that no element has: the threads that differ in it hold the same."""


@dataclass(frozen=True)
class Digit:
    """``index[axis] // weight % size``; of a replica only ``size`` means anything."""

    axis: int
    weight: int
    size: int


@dataclass(frozen=True)
class Layout:
    """A map from the elements of a tile of ``shape`` to (thread, slot). Equal maps are equal values.

    ``spatial`` and ``local`` are in canonical form: digits of size 1 are left out, neighbours that count on are one.
    Made by :func:`spatial`, :func:`local`, their relatives, and ``outer * inner``.

    >>> layout = local(3, 4) * spatial(2, 3)
    >>> layout.shape, layout.threads, layout.slots
    ((6, 12), 6, 12)
    >>> layout.thread_slot((1, 5))
    (5, 1)

    Raises ``LowBitInvalid`` when the digits do not make up the shape.
    """

    shape: tuple[int, ...]
    spatial: tuple[Digit, ...]
    local: tuple[Digit, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "spatial", _canonical(self.spatial))
        object.__setattr__(self, "local", _canonical(self.local))
        for axis, size in enumerate(self.shape):
            covered = 1
            digits = (digit for digit in (*self.spatial, *self.local) if digit.axis == axis)
            for digit in sorted(digits, key=lambda digit: digit.weight):
                if digit.weight != covered:
                    raise LowBitInvalid(f"axis {axis} has a digit of weight {digit.weight}; {covered} comes next.")
                covered *= digit.size
            if covered != size:
                raise LowBitInvalid(f"the digits of axis {axis} count to {covered}, its size is {size}.")
        if any(digit.axis == REPLICA for digit in self.local):
            raise LowBitInvalid("a digit of the slots belongs to no axis; only threads hold copies.")

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return math.prod(digit.size for digit in self.spatial)

    @property
    def slots(self) -> int:
        """How many elements each thread holds."""
        return math.prod(digit.size for digit in self.local)

    @property
    def replicas(self) -> int:
        """How many threads hold each element."""
        return math.prod(digit.size for digit in self.spatial if digit.axis == REPLICA)

    def thread_slot(self, index: Sequence[int]) -> tuple[int, int]:
        """The first thread that holds an element, and the slot."""
        return _number(self.spatial, index), _number(self.local, index)

    @cached_property
    def thread_offsets(self) -> np.ndarray:
        """Where the tile of each thread begins: ``[threads, rank]``. Added to ``slot_offsets`` they are indices."""
        return _offsets(self.spatial, len(self.shape))

    @cached_property
    def slot_offsets(self) -> np.ndarray:
        """What each slot adds: ``[slots, rank]``."""
        return _offsets(self.local, len(self.shape))

    def indices(self) -> np.ndarray:
        """The element in every slot of every thread: ``[threads, slots, rank]``; the map's inverse."""
        return self.thread_offsets[:, None] + self.slot_offsets[None]

    def __mul__(self, inner: Layout) -> Layout:
        """The product: every element of this layout is a whole tile of ``inner``. Associative, not commutative."""
        if len(self.shape) != len(inner.shape):
            raise LowBitInvalid(f"layouts of {len(self.shape)} and {len(inner.shape)} axes have no product.")
        shape = tuple(a * b for a, b in zip(self.shape, inner.shape, strict=True))
        spatial, local = (_scaled(digits, inner.shape) for digits in (self.spatial, self.local))
        return Layout(shape, (*spatial, *inner.spatial), (*local, *inner.local))

    def __truediv__(self, inner: Layout) -> Layout:
        """The layout ``f`` with ``f * inner == self``. Raises ``LowBitInvalid`` where there is none."""
        shape = _quotient_shape(self.shape, inner.shape)
        rest = [_without_end(*pair) for pair in ((self.spatial, inner.spatial), (self.local, inner.local))]
        if None in rest or any(d.weight % inner.shape[d.axis] for part in rest for d in part or () if d.axis >= 0):
            raise LowBitInvalid(f"{self.visualize()} is not made of tiles of {inner.visualize()}.")
        spatial, local = (_shrunk(part or (), inner.shape) for part in rest)
        return Layout(shape, spatial, local)

    def left_divide(self, outer: Layout) -> Layout:
        """The layout ``g`` with ``outer * g == self``. Raises ``LowBitInvalid`` where there is none."""
        shape = _quotient_shape(self.shape, outer.shape)
        rest = [
            _without_start(whole, _scaled(start, shape))
            for whole, start in ((self.spatial, outer.spatial), (self.local, outer.local))
        ]
        try:
            return Layout(shape, *(tuple(part) for part in rest if part is not None))
        except (LowBitInvalid, TypeError):
            raise LowBitInvalid(f"{self.visualize()} does not begin with {outer.visualize()}.") from None

    def reduce(self, *axes: int) -> Layout:
        """What is left when axes are summed up: they have size 1, and the threads along them hold the same."""
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(self.shape))
        spatial = (Digit(REPLICA, 1, d.size) if d.axis in axes else d for d in self.spatial)
        return Layout(shape, tuple(spatial), tuple(d for d in self.local if d.axis not in axes))

    def permute(self, *axes: int) -> Layout:
        """The same with its axes in another order, as ``torch.Tensor.permute``."""
        if sorted(axes) != list(range(len(self.shape))):
            raise LowBitInvalid(f"axes are {axes}; they are an order of the {len(self.shape)} axes.")
        place = {axis: at for at, axis in enumerate(axes)} | {REPLICA: REPLICA}
        spatial, local = (
            tuple(Digit(place[d.axis], d.weight, d.size) for d in digits) for digits in (self.spatial, self.local)
        )
        return Layout(tuple(self.shape[axis] for axis in axes), spatial, local)

    def reshape(self, *shape: int) -> Layout:
        """The same elements, counted row-major, under another shape. Raises ``LowBitInvalid`` if a digit is torn."""
        if math.prod(shape) != math.prod(self.shape):
            raise LowBitInvalid(f"a tile of shape {self.shape} does not have the elements of {shape}.")
        flat = [
            [Digit(d.axis, d.weight * math.prod(self.shape[d.axis + 1 :]) if d.axis >= 0 else 1, d.size) for d in part]
            for part in (self.spatial, self.local)
        ]
        spatial, local = (tuple(piece for d in part for piece in _cut(d, shape)) for part in flat)
        return Layout(shape, spatial, local)

    def visualize(self) -> str:
        """The layout in the words that make it, as far as they go: for messages."""
        names = {REPLICA: "copies"}
        parts = [
            f"{kind}({', '.join(f'{names.get(d.axis, d.axis)}:{d.size}@{d.weight}' for d in digits)})"
            for kind, digits in (("threads", self.spatial), ("slots", self.local))
        ]
        return f"{'x'.join(map(str, self.shape))} {' '.join(parts)}"


def spatial(*shape: int) -> Layout:
    """One element for each thread, threads counted row-major."""
    return Layout(shape, _row_major(shape), ())


def local(*shape: int) -> Layout:
    """One thread holds everything, row-major."""
    return Layout(shape, (), _row_major(shape))


def column_spatial(*shape: int) -> Layout:
    """As :func:`spatial`, with the first axis counting fastest."""
    return Layout(shape, _row_major(shape)[::-1], ())


def column_local(*shape: int) -> Layout:
    """As :func:`local`, with the first axis counting fastest."""
    return Layout(shape, (), _row_major(shape)[::-1])


def replicated(rank: int, threads: int) -> Layout:
    """One element (of ``rank`` axes of size 1) that all threads hold."""
    return Layout((1,) * rank, (Digit(REPLICA, 1, threads),), ())


def concat(first: Layout, second: Layout) -> Layout:
    """The axes of both, one after the other."""
    rank = len(first.shape)
    spatial, local = (
        tuple(Digit(d.axis + rank if d.axis >= 0 else d.axis, d.weight, d.size) for d in digits)
        for digits in (second.spatial, second.local)
    )
    return Layout(first.shape + second.shape, (*first.spatial, *spatial), (*first.local, *local))


def auto_local_spatial(threads: int, *shape: int) -> Layout:
    """Some layout of a tile on so many threads: the last axes are spread first. Raises ``LowBitInvalid``."""
    inner: list[int] = []
    left = threads
    for size in reversed(shape):
        take = math.gcd(size, left)
        inner.insert(0, take)
        left //= take
    if left != 1:
        raise LowBitInvalid(f"a tile of shape {shape} cannot be spread over {threads} threads.")
    return local(*(size // take for size, take in zip(shape, inner, strict=True))) * spatial(*inner)


def byte_layout(layout: Layout, bits: int) -> Layout:
    """How the bytes of a tile of ``bits``-bit elements lie flat, so that a thread's bytes are fetched in wide pieces.

    Raises ``LowBitInvalid`` when the elements of a thread are no whole number of bytes. Source: Tilus, section 6.
    """
    size = layout.slots * bits
    if size % 8:
        raise LowBitInvalid(f"each thread holds {layout.slots} elements of {bits} bits, which are no whole bytes.")
    wide = math.gcd(size // 8, 16)
    return local(size // 8 // wide) * spatial(layout.threads) * local(wide)


def check_view(source: Layout, source_bits: int, result: Layout, result_bits: int) -> None:
    """Raise ``LowBitInvalid`` unless the bits in every thread's registers can be read as the other tile."""
    if source.threads != result.threads:
        raise LowBitInvalid(f"a tile on {source.threads} threads cannot be viewed as one on {result.threads}.")
    if source.slots * source_bits != result.slots * result_bits:
        raise LowBitInvalid(
            f"a thread holds {source.slots} x {source_bits} bits, which cannot be viewed as "
            f"{result.slots} x {result_bits}."
        )


def _row_major(shape: Sequence[int]) -> tuple[Digit, ...]:
    if any(size < 1 for size in shape):
        raise LowBitInvalid(f"a tile has shape {tuple(shape)}; every size is at least 1.")
    return tuple(Digit(axis, 1, size) for axis, size in enumerate(shape))


def _canonical(digits: Iterable[Digit]) -> tuple[Digit, ...]:
    made: list[Digit] = []
    for digit in digits:
        last = made[-1] if made else None
        if digit.size == 1:
            continue
        if (
            last is not None
            and last.axis == digit.axis
            and (digit.axis < 0 or last.weight == digit.weight * digit.size)
        ):
            made[-1] = Digit(digit.axis, digit.weight, last.size * digit.size)
        else:
            made.append(digit)
    return tuple(made)


def _number(digits: Sequence[Digit], index: Sequence[int]) -> int:
    number = 0
    for d in digits:
        number = number * d.size + (index[d.axis] // d.weight % d.size if d.axis >= 0 else 0)
    return number


def _offsets(digits: Sequence[Digit], rank: int) -> np.ndarray:
    left = np.arange(math.prod(d.size for d in digits))
    offsets = np.zeros((len(left), rank), dtype=np.int64)
    for d in reversed(digits):
        if d.axis >= 0:
            offsets[:, d.axis] += left % d.size * d.weight
        left = left // d.size
    return offsets


def _scaled(digits: Iterable[Digit], by: Sequence[int]) -> tuple[Digit, ...]:
    return tuple(Digit(d.axis, d.weight * by[d.axis] if d.axis >= 0 else 1, d.size) for d in digits)


def _shrunk(digits: Iterable[Digit], by: Sequence[int]) -> tuple[Digit, ...]:
    return tuple(Digit(d.axis, d.weight // by[d.axis] if d.axis >= 0 else 1, d.size) for d in digits)


def _quotient_shape(whole: Sequence[int], part: Sequence[int]) -> tuple[int, ...]:
    if len(whole) != len(part) or any(a % b for a, b in zip(whole, part, strict=True)):
        raise LowBitInvalid(f"a tile of shape {tuple(whole)} is not made of tiles of shape {tuple(part)}.")
    return tuple(a // b for a, b in zip(whole, part, strict=True))


def _without_end(whole: Sequence[Digit], end: Sequence[Digit]) -> tuple[Digit, ...] | None:
    """``whole`` less its last digits; that on the seam may be part of a longer one."""
    if not end:
        return tuple(whole)
    kept = len(whole) - len(end)
    if kept < 0 or tuple(whole[kept + 1 :]) != tuple(end[1:]):
        return None
    seam, first = whole[kept], end[0]
    if seam.axis != first.axis or seam.size % first.size or (seam.axis >= 0 and seam.weight != first.weight):
        return None
    more = Digit(seam.axis, seam.weight * first.size if seam.axis >= 0 else 1, seam.size // first.size)
    return _canonical((*whole[:kept], more))


def _without_start(whole: Sequence[Digit], start: Sequence[Digit]) -> tuple[Digit, ...] | None:
    """``whole`` less its first digits; that on the seam may be part of a longer one."""
    if not start:
        return tuple(whole)
    kept = len(start)
    if len(whole) < kept or tuple(whole[: kept - 1]) != tuple(start[:-1]):
        return None
    seam, last = whole[kept - 1], start[-1]
    if seam.axis != last.axis or seam.size % last.size:
        return None
    left = seam.size // last.size
    if seam.axis >= 0 and seam.weight * left != last.weight:
        return None
    return (Digit(seam.axis, seam.weight, left), *whole[kept:])


def _cut(digit: Digit, shape: Sequence[int]) -> Iterable[Digit]:
    """A digit of the row-major count, as digits of the axes of ``shape``, the most significant first."""
    if digit.axis < 0:
        yield digit
        return
    low, high = digit.weight, digit.weight * digit.size
    end = math.prod(shape)
    for axis, size in enumerate(shape):
        begin = end // size
        first, last = max(low, begin), min(high, end)
        if first < last:
            if last % first or first % begin:
                raise LowBitInvalid(f"a digit of size {digit.size} is torn by the shape {tuple(shape)}.")
            yield Digit(axis, first // begin, last // first)
        end = begin
