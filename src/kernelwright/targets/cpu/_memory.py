"""Memory for outputs, used again as soon as nobody holds the tensor that lay in it.

The C library returns large blocks to the kernel when they are freed, and the kernel clears each page of a new one at
its first touch: writing fresh memory takes several times as long as writing what was there already, and the many
outputs of a training step cost more than the step. So blocks are kept, as torch itself keeps those of a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import torch

Allocate = Callable[[tuple[int, ...], tuple[int, ...], torch.dtype], torch.Tensor]

_KEEP_FROM = 128 << 10  # bytes; smaller blocks come from the C library's own store, which is quick
_SHARE = 16  # of the machine's memory, the part that may be kept
_HUGE = 2 << 20  # bytes of a huge page: one fault instead of 512
_MADV_HUGEPAGE = 14

# torch.empty_strided without its Python argument parser; falls back to the public function.
_empty: Any = getattr(torch._C._dynamo.guards, "_empty_strided_cpu", torch.empty_strided)
_holders: Any = getattr(torch._C, "_storage_Use_Count", None)  # tensors and others that hold a storage

Block = tuple[torch.UntypedStorage, int]  # with the address that it had when it was made


class Keeper:
    """Hands out uninitialised memory; ``limit`` bytes of it at most are kept for the next call. Threads may share it.

    A block is idle when nothing but the keeper holds its storage: no tensor, no view, no array made of one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocks: dict[int, deque[Block]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return self.make(_bytes(shape, strides, dtype), shape, strides, dtype)

    def make(self, size: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The same, where the bytes are known already."""
        if size < _KEEP_FROM or _holders is None:
            small: torch.Tensor = _empty(shape, strides, dtype)
            return small
        tensor: torch.Tensor = _empty((0,), (1,), dtype)
        with self._lock:
            return tensor.set_(self._idle(size) or self._new(size), 0, shape, strides)

    def release(self) -> None:
        """Give back all memory that nobody uses."""
        with self._lock:
            self._blocks.clear()
            self._bytes = 0

    def _idle(self, size: int) -> torch.UntypedStorage | None:
        blocks = self._blocks.get(size)
        if blocks is None:
            return None
        for _ in range(len(blocks)):
            block = blocks.popleft()
            if block[0].data_ptr() != block[1] or block[0].nbytes() != size:
                self._bytes -= size  # its user moved it to shared memory, or resized it: it is theirs
                continue
            blocks.append(block)
            if _is_idle(block):
                return block[0]
        return None

    def _new(self, size: int) -> torch.UntypedStorage:
        storage = torch.UntypedStorage(size)
        address = storage.data_ptr()
        _advise_huge_pages(address, size)
        if self._bytes + size > self._limit:  # what is in use stays its user's; what is idle is freed
            self._blocks.clear()
            self._bytes = 0
        if size <= self._limit:
            self._blocks.setdefault(size, deque()).append((storage, address))
            self._bytes += size
        return storage


def _is_idle(block: Block) -> bool:
    return bool(_holders(block[0]._cdata) == 1 and sys.getrefcount(block[0]) <= _REFERENCES)


def _count_references() -> int:
    """What ``sys.getrefcount`` gives for a storage that the keeper alone holds."""
    blocks = deque([(torch.UntypedStorage(0), 0)])
    block = blocks.popleft()
    blocks.append(block)
    return sys.getrefcount(block[0])


_REFERENCES = _count_references()


def _bytes(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> int:
    span = 1
    for size, stride in zip(shape, strides, strict=True):
        if size == 0:
            return 0
        span += (size - 1) * stride
    return span * dtype.itemsize


def _advise_huge_pages(address: int, size: int) -> None:
    """Let the kernel back the block with pages of 2 MiB where it may choose; elsewhere nothing happens."""
    first, last = -(-address // _HUGE) * _HUGE, (address + size) // _HUGE * _HUGE
    if last > first and sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_HUGEPAGE)


allocate = Keeper(psutil.virtual_memory().total // _SHARE)


def maker(
    allocate_: Allocate, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype
) -> Callable[[], torch.Tensor]:
    """``allocate_`` for tensors of one form; small ones without the detour by the keeper."""
    if allocate_ is allocate:
        size = _bytes(shape, strides, dtype)
        return partial(_empty if size < _KEEP_FROM else partial(allocate.make, size), shape, strides, dtype)
    return partial(allocate_, shape, strides, dtype)


__all__ = ["Allocate", "Keeper", "allocate", "maker"]
