"""The level-2 decisions of a contraction: strategy, register tile, blocks, threads; and the filter on what fits.

A tile must fit the registers and a block of B the second-level cache; among the tiles that fit, a count of
multiply-adds with a fixed cost per step ranks them for the sizes at hand (after nn-JIT.web, arXiv 2309.08978).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from ...machine import vector_registers
from ..contraction import Contraction, product
from ..program import Axis, Size
from ._indices import static

PANEL_ROWS = 16  # most rows of an A panel
SERIAL_PRODUCTS = 1 << 20  # fewer multiply-adds than this are not worth a second thread


@dataclass(frozen=True)
class GemmSchedule:
    """``strategy``: "gemm" (blocked), "split-k" (threads share the sum), "dot", "axpy" (few rows), "channels",
    "window" (depthwise), "direct" (convolutions with result channels as lanes), "phases" (transposed convolutions and
    those whose input is read where it lies). ``mr`` rows x ``nv`` vectors are one
    register tile; ``mc`` rows, ``kc`` steps and ``nc`` columns one block."""

    strategy: str
    mr: int = 12
    nv: int = 2
    mc: int = 960
    kc: int = 384
    nc: int = 384
    threads: int = 2


@dataclass(frozen=True)
class Registers:
    """The vector registers of a core. Schedules count in vectors of 64 bytes, which may be several registers each."""

    count: int
    bytes: int

    @property
    def parts(self) -> int:
        """Registers that hold one vector."""
        return 64 // self.bytes

    @property
    def most(self) -> int:
        """Vectors of accumulators that leave room for what is multiplied."""
        return (self.count - 4) // self.parts

    def fit(self, rows: int, vectors: int, spare: int = 1) -> bool:
        """Do the accumulators of a tile, one row of vectors to multiply and ``spare`` registers find room?"""
        return rows * vectors <= self.most and (rows + 1) * vectors * self.parts + spare <= self.count


def _registers() -> Registers:
    return Registers(*vector_registers())


@dataclass(frozen=True)
class Cache:
    """Bytes per core of the second-level cache, the threads kernels may use, and the registers of a core."""

    l2: int = 1 << 20
    threads: int = 0
    registers: Registers = field(default_factory=_registers)

    @property
    def workers(self) -> int:
        return self.threads or os.cpu_count() or 1


def total(axes: tuple[Axis, ...]) -> Size:
    """The number of points of fused axes."""
    return product(x.size for x in axes)


def gemm_schedules(parts: Contraction, cache: Cache) -> list[GemmSchedule]:
    """Blocked schedules, best guess first."""
    lanes = 16 if parts.dtype == "float32" else 8
    m, n, k = static(total(parts.m)), static(total(parts.n)), static(total(parts.k))
    fitting = [(mr, nv) for mr, nv in register_tiles(parts.dtype, cache.registers) if m is None or mr <= max(1, m)]
    tiles = sorted(fitting, key=lambda t: tile_cost(t, lanes, m, n, cache.registers.parts))
    first = [_blocked(mr, nv, lanes, k, n, cache, budget) for mr, nv in tiles[:3] for budget in (0.5, 0.36)]
    best = [first[0], first[2], first[1], first[4]]
    if _long(m, n, k):
        best = [_split(s, n or 1, lanes, cache) for s in best[:2]] + best[:1]
    return list(dict.fromkeys(best))


def register_tiles(dtype: str, registers: Registers) -> list[tuple[int, int]]:
    """(rows, vectors) whose accumulators, one row of B and a broadcast fit the registers."""
    widths = (1, 2, 3, 4, 6) if dtype == "float32" else (1, 2, 4, 6)
    tiles = [(mr, nv) for nv in widths for mr in range(1, PANEL_ROWS + 1) if registers.fit(mr, nv)]
    return [t for t in tiles if dtype == "float32" or t[1] > 1 or registers.parts > 1]


def tile_cost(tile: tuple[int, int], lanes: int, m: int | None, n: int | None, parts: int = 1) -> tuple[float, int]:
    """Steps of the register tiles that cover an m x n result; ties go to 12 x 2. A vector is ``parts`` registers."""
    mr, nv = tile
    rows = 4096 if m is None else m
    columns = 4096 if n is None else n
    wide, edge = divmod(columns, nv * lanes)
    narrow = 1 if edge <= lanes and wide < 16 else nv
    lengths = [(wide, nv), (1, narrow)] if edge else [(wide, nv)]
    cost = -(-rows // mr) * sum(d * (max(mr * w, 8 / parts) + 0.35 * mr + 1.5 * w) for d, w in lengths)
    return (round(cost, 6), abs(mr - 12) + 8 * abs(nv - 2))


def gemm_cost(parts: Contraction, schedule: GemmSchedule) -> float:
    """The cost of a blocked schedule for the whole contraction, in the unit of :func:`tile_cost`."""
    m, n, steps, batch = (static(total(group)) for group in (parts.m, parts.n, parts.k, parts.batch))
    lanes = 16 if parts.dtype == "float32" else 8
    return tile_cost((schedule.mr, schedule.nv), lanes, m, n)[0] * (steps or 4096) * (batch or 1)


def _blocked(mr: int, nv: int, lanes: int, k: int | None, n: int | None, cache: Cache, part: float) -> GemmSchedule:
    width, size = nv * lanes, 4 if lanes == 16 else 8
    kc = 512 if size == 4 else 256
    if k is not None:
        blocks = max(1, -(-k // kc)) if k > kc * 3 // 2 else 1
        kc = max(1, -(-k // blocks))
    nc = max(width, int(cache.l2 * part / (kc * size)) // width * width)
    nc = min(nc, 1024 // width * width)
    if n is not None:
        nc = min(nc, _round_up(n, width))
    return GemmSchedule("gemm", mr, nv, mc=_round_up(960, mr), kc=kc, nc=max(width, nc), threads=cache.workers)


def _split(schedule: GemmSchedule, n: int, lanes: int, cache: Cache) -> GemmSchedule:
    nc = _round_up(n, schedule.nv * lanes)
    kc = min(512, max(64, cache.l2 // 2 // (nc * 64 // lanes) // 16 * 16))
    return replace(schedule, strategy="split-k", nc=nc, kc=kc)


def _long(m: int | None, n: int | None, k: int | None) -> bool:
    """Few results, long sums: not enough tiles to share among threads, enough steps to split."""
    return m is not None and n is not None and k is not None and m * n <= 256 * 1024 and n <= 1024 and k >= 64 * 256


def _round_up(value: int, step: int) -> int:
    return max(step, -(-value // step) * step)
