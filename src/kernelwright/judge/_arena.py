"""Tensors in memory that two processes share: anonymous files without a name, so that nothing can be left behind.

Between and around the tensors lies a pattern that is NaN in every floating format: a read past a tensor's end poisons
the result, a write past it shows.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

GUARD = 256  # bytes of pattern before, between and after tensors
PATTERN = 0xFF
_ALIGN = 64


@dataclass(frozen=True)
class Slot:
    """Where a tensor lies in an arena: ``offset`` in bytes, ``strides`` in elements."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        return span(self.shape, self.strides) * getattr(torch, self.dtype).itemsize

    def to_json(self) -> list[Any]:
        return [self.offset, list(self.shape), list(self.strides), self.dtype]

    @staticmethod
    def from_json(data: Sequence[Any]) -> Slot:
        return Slot(int(data[0]), tuple(map(int, data[1])), tuple(map(int, data[2])), str(data[3]))


def span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements from a tensor's first to its last, both included."""
    if any(size == 0 for size in shape):
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def lay_out(tensors: Iterable[tuple[Sequence[int], Sequence[int], torch.dtype]], *, shift: int = 0) -> list[Slot]:
    """Slots with guards for tensors given by shape, strides and dtype; ``shift`` elements off the alignment."""
    slots, offset = [], GUARD
    for shape, strides, dtype in tensors:
        offset = -(-offset // _ALIGN) * _ALIGN + shift * dtype.itemsize
        slot = Slot(offset, tuple(shape), tuple(strides), dtype_name(dtype))
        slots.append(slot)
        offset += slot.bytes + GUARD
    return slots


def arena_size(slots: Sequence[Slot]) -> int:
    return max((s.offset + s.bytes for s in slots), default=0) + GUARD


@functools.cache
def _memcmp() -> Callable[[int, int, int], int]:
    compare = ctypes.CDLL(None).memcmp
    compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    return compare


def check_slots(slots: Sequence[Slot], size: int) -> None:
    """Raises ``ValueError`` when they do not lie in so many bytes."""
    if any(s.offset < 0 or min(s.strides, default=0) < 0 or s.offset + s.bytes > size for s in slots):
        raise ValueError("slots outside the arena")


class Arena:
    """A block of shared memory; ``descriptor`` is what another process maps."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size = descriptor, size
        self._map = mmap.mmap(descriptor, size)
        self.bytes = torch.frombuffer(self._map, dtype=torch.uint8)

    @staticmethod
    def create(size: int) -> Arena:
        """Raises ``MemoryError`` when the machine has no room for it."""
        try:
            if hasattr(os, "memfd_create"):
                descriptor = os.memfd_create("kernelwright", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            else:
                with tempfile.TemporaryFile() as file:
                    descriptor = os.dup(file.fileno())
            os.ftruncate(descriptor, size)
            if hasattr(os, "memfd_create"):  # a candidate that shrank it would crash the reader
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            return Arena(descriptor, size)
        except OSError as error:
            raise MemoryError(str(error)) from error

    @staticmethod
    def attach(descriptor: int, slots: Sequence[Slot]) -> Arena:
        """Map memory from elsewhere; raises ``ValueError`` when the slots do not lie in it."""
        size = os.fstat(descriptor).st_size
        check_slots(slots, size)
        return Arena(descriptor, size)

    def tensor(self, slot: Slot) -> torch.Tensor:
        """A view, not a copy."""
        flat = self.bytes[slot.offset : slot.offset + slot.bytes]
        if not slot.bytes:
            return torch.empty(slot.shape, dtype=getattr(torch, slot.dtype), device=self.bytes.device)
        if slot.offset % getattr(torch, slot.dtype).itemsize:
            raise ValueError("a slot is not aligned to its dtype")
        return flat.view(getattr(torch, slot.dtype)).as_strided(slot.shape, slot.strides)

    def view(self, slot: Slot) -> memoryview:
        """A slot's bytes, for reading a file straight into it."""
        return memoryview(self._map)[slot.offset : slot.offset + slot.bytes]

    def same(self, slot: Slot, other: Arena, place: Slot) -> bool:
        """Are the bytes of two slots of one form equal, those between elements too? By one thread of this process.

        torch would wake others, which look for more work for milliseconds: on the cores that a candidate is to have.
        """
        mine, its = self.bytes.data_ptr() + slot.offset, other.bytes.data_ptr() + place.offset
        return _memcmp()(mine, its, slot.bytes) == 0

    def fill_pattern(self) -> None:
        self.bytes.fill_(PATTERN)

    def guards_intact(self, slots: Sequence[Slot]) -> bool:
        """Is every byte that belongs to no slot still the pattern?"""
        position = 0
        for slot in sorted(slots, key=lambda s: s.offset):
            if not bool((self.bytes[position : slot.offset] == PATTERN).all()):
                return False
            position = slot.offset + slot.bytes
        return bool((self.bytes[position:] == PATTERN).all())

    def close(self) -> None:
        """Forget the descriptor; the mapping goes when the last tensor in it does."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def aliases(outputs: Sequence[torch.Tensor], leaves: Iterable[Any]) -> list[int]:
    """Positions of the outputs that share memory with one of the tensors among the leaves."""
    spans = [_extent(t) for t in leaves if isinstance(t, torch.Tensor) and t.numel()]
    found = []
    for k, tensor in enumerate(outputs):
        lo, hi = _extent(tensor)
        if tensor.numel() and any(lo < b and a < hi for a, b in spans):
            found.append(k)
    return found


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    start = tensor.data_ptr()
    return start, start + span(tensor.shape, tensor.stride()) * tensor.element_size()


def uniquely(tensor: torch.Tensor) -> torch.Tensor:
    """Without the repeats of expanded dimensions, so that it can be written."""
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def clone(tensor: torch.Tensor) -> torch.Tensor:
    """A detached copy with the same strides, expanded and strided tensors included."""
    tensor = tensor.detach()
    if tensor.is_contiguous() or tensor.numel() == 0:
        return tensor.clone()
    flat = torch.empty(span(tensor.shape, tensor.stride()), dtype=tensor.dtype, device=tensor.device)
    copy = flat.as_strided(tensor.shape, tensor.stride())
    uniquely(copy).copy_(uniquely(tensor))
    return copy
