"""How many blocks of a kernel a multiprocessor holds at once, and which tiles are worth compiling because of it.

The rule for tiles is that of "Empowering In-Browser Deep Learning Inference on Edge Devices with Just-in-Time Kernel
Optimizations" (arXiv 2309.08978): a kernel must fit, and what limits the blocks that are resident must be the
registers. Shared memory, threads or block slots that run out first leave registers, the fastest memory, unused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ...machine import Gpu

_REGISTER_UNIT = 256  # registers are handed out to a warp in such pieces
_SHARED_UNIT, _SHARED_OWN = 128, 1 << 10  # bytes: the pieces of shared memory, and what a block needs for itself

_BLOCK_TILES = (4, 8, 16, 32, 64, 128, 256)
_THREAD_TILES = (4, 8, 16, 32)
_LEAST_THREADS = 4  # in each direction of a block


@dataclass(frozen=True)
class SimtTile:
    """A matrix product by threads: a block's tile mb x nb over steps of kb, a thread's tile mr x nr, SIMD or not."""

    mb: int
    nb: int
    kb: int
    mr: int
    nr: int
    simd: bool

    @property
    def threads(self) -> int:
        return (self.mb // self.mr) * (self.nb // self.nr)

    @property
    def registers(self) -> int:
        """For each thread: its part of both operands and of the result."""
        return self.mr + self.nr + self.mr * self.nr

    @property
    def shared(self) -> int:
        """Bytes of one step's operands in float32."""
        return 4 * self.kb * (self.mb + self.nb)


def simt_tiles() -> Iterator[SimtTile]:
    """The whole space: every block tile that its thread tile divides."""
    for mb, nb, kb in product(_BLOCK_TILES, repeat=3):
        for mr, nr, simd in product(_THREAD_TILES, _THREAD_TILES, (False, True)):
            if mb % mr == 0 and nb % nr == 0:
                yield SimtTile(mb, nb, kb, mr, nr, simd)


def suits(gpu: Gpu, tile: SimtTile) -> bool:
    """The paper's filter for devices whose threads are scalar (every NVIDIA GPU): square thread tiles that fill it."""
    if tile.simd or tile.mr != tile.nr:
        return False
    if tile.mb // tile.mr < _LEAST_THREADS or tile.nb // tile.nr < _LEAST_THREADS:
        return False
    return register_bound(gpu, tile.threads, tile.registers, tile.shared)


def register_bound(gpu: Gpu, threads: int, registers: int, shared: int) -> bool:
    """Does a block with so many threads, registers for each and bytes fit, and do registers alone limit how many?"""
    block = registers * threads
    if registers > gpu.registers_thread or block > gpu.registers_block or threads > gpu.threads_block:
        return False
    if shared > gpu.shared_block:
        return False
    by_registers = gpu.registers_sm // block
    others = min(gpu.blocks_sm, gpu.threads_sm // threads, gpu.shared_sm // shared if shared else gpu.blocks_sm)
    return 0 < by_registers <= others


def blocks_per_sm(gpu: Gpu, threads: int, registers: int, shared: int) -> int:
    """Blocks that are resident at once, with the units in which the hardware hands out its memory; 0: does not fit."""
    if registers > gpu.registers_thread or threads > gpu.threads_block or shared > gpu.shared_block:
        return 0
    warps = -(-threads // gpu.warp)
    warp_registers = _round_up(max(registers, 1) * gpu.warp, _REGISTER_UNIT)
    by_registers = (gpu.registers_sm // warp_registers) // warps
    by_shared = gpu.shared_sm // _round_up(shared + _SHARED_OWN, _SHARED_UNIT)
    return min(gpu.blocks_sm, gpu.threads_sm // (warps * gpu.warp), by_registers, by_shared)


def occupancy(gpu: Gpu, threads: int, registers: int, shared: int) -> float:
    """Threads that are resident, as a share of those that a multiprocessor can hold."""
    return blocks_per_sm(gpu, threads, registers, shared) * threads / gpu.threads_sm


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
