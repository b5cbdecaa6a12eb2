"""Measured peaks: the roofline that every measurement is set against. Cached on disk, keyed by the machine.

Peaks are upper bounds, so each is the best of many short runs: noise on a shared machine only ever makes a run slower.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import psutil

from kernelwright.machine._compiler import Compiler, find_compiler
from kernelwright.machine._describe import Machine, describe, fingerprint
from kernelwright.paths import cache_dir
from kernelwright.scratch import scratch_folder

_SOURCE = Path(__file__).with_name("peaks.cc")
_RUN = 0.006  # seconds one timed run should last: short, so that some run meets a quiet moment
_REPEATS = 12
_BUSY = 0.5  # running processes per core, this one's own not yet among them
_TOGETHER = 0.6  # of as many times the work of one core as there are: what all do together if nobody else has them
_MOST_RUNS = 4
_KNOWN: dict[Path, Peaks] = {}  # what this process has read or measured, so that it measures once at most
_Work = Callable[[int, int], None]  # (thread, rounds)


@dataclass(frozen=True)
class Peaks:
    """Best rates measured on this machine.

    Bandwidths in GB/s (1e9 bytes) over all cores: ``copy`` counts bytes read plus written, ``read`` bytes read;
    ``l1``/``l2``/``l3`` are reads from that cache (0: not measured). FLOP/s of one core (``_core``) and of all.
    ``source`` says what measured them: the compiler's label, or "torch.matmul" without a compiler. ``busy``: other
    work kept the machine from its peak, so that later processes measure again (``runs`` counts) and keep the better.
    """

    copy: float
    read: float
    l1: float
    l2: float
    l3: float
    fp32_core: float
    fp64_core: float
    bf16_core: float
    fp32: float
    fp64: float
    bf16: float
    source: str
    busy: bool = False
    runs: int = 1

    def flops(self, dtype: str) -> float:
        """FLOP/s of all cores in a dtype (torch's name); half types without units of their own run as float32."""
        return {"float64": self.fp64, "bfloat16": self.bf16}.get(dtype, self.fp32)


def peaks(*, refresh: bool = False) -> Peaks:
    """This machine's peaks, measured (under 3 s) the first time and read from the cache folder afterwards."""
    return _peaks(describe(), refresh)


def _peaks(machine: Machine, refresh: bool) -> Peaks:
    compiler = find_compiler()
    key = hashlib.sha256((_SOURCE.read_text() + (compiler.identity if compiler else "")).encode()).hexdigest()[:8]
    path = cache_dir() / "peaks" / f"{fingerprint(machine)}-{key}.json"
    if path in _KNOWN and not refresh:
        return _KNOWN[path]
    cached = _cached(path)
    if cached is not None and not refresh and not (cached.busy and cached.runs < _MOST_RUNS):
        return _KNOWN.setdefault(path, cached)
    load = _load_per_core(machine)
    measured = _measure(machine, compiler)
    measured = replace(measured, busy=load > _BUSY or _held_up(measured, machine))
    if cached is not None:
        measured = _better(cached, measured)
    _store(path, measured)
    _KNOWN[path] = measured
    return measured


def _load_per_core(machine: Machine) -> float:
    return psutil.getloadavg()[0] / machine.cores


def _held_up(found: Peaks, machine: Machine) -> bool:
    """Did all cores together do so little more than one that somebody else must have had the others?"""
    return found.fp32 < _TOGETHER * machine.cores * found.fp32_core


def _better(one: Peaks, other: Peaks) -> Peaks:
    """The higher of each rate: a peak is an upper bound, and noise only lowers it."""
    rates = [f.name for f in fields(Peaks) if f.type == "float"]
    best = {name: max(getattr(one, name), getattr(other, name)) for name in rates}
    return replace(other, **best, busy=one.busy and other.busy, runs=one.runs + other.runs)


def _cached(path: Path) -> Peaks | None:
    try:
        data = json.loads(path.read_text())
        if set(data) != {f.name for f in fields(Peaks)}:
            return None
        return Peaks(**data)
    except (OSError, ValueError, TypeError):  # absent, unreadable or damaged: measure again
        return None


def _store(path: Path, measured: Peaks) -> None:
    """Keep the peaks; a cache folder that cannot be written only means measuring again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(asdict(measured), file)
        os.replace(file.name, path)
    except OSError:
        return


def _measure(machine: Machine, compiler: Compiler | None) -> Peaks:
    library = _build(compiler) if compiler else None
    if library is None or compiler is None:
        return _by_torch(machine)
    with ThreadPoolExecutor(machine.threads) as pool:
        team = _Team(pool, machine.cores)
        solo = _Team(pool, 1)
        core = {t: _fma(library, t, solo) for t in ("f32", "f64", "bf16")}
        total = {t: _fma(library, t, team) for t in ("f32", "f64", "bf16")}
        copy, read = _memory(library, team, max(4 * machine.l3, 128 << 20))
        caches = [_cache(library, team, size) for size in _inside(machine)]
    return Peaks(
        copy=copy,
        read=read,
        l1=caches[0],
        l2=caches[1],
        l3=caches[2],
        fp32_core=max(core["f32"], total["f32"] / machine.cores),
        fp64_core=max(core["f64"], total["f64"] / machine.cores),
        bf16_core=max(core["bf16"], core["f32"], total["bf16"] / machine.cores),
        fp32=max(total["f32"], core["f32"]),
        fp64=max(total["f64"], core["f64"]),
        bf16=max(total["bf16"], total["f32"], core["f32"]),
        source=compiler.label,
    )


def _inside(machine: Machine) -> list[int]:
    """Bytes per core that lie well inside each cache level and outside the one before (0: no such level)."""
    l3_share = machine.l3 // machine.cores
    return [machine.l1d // 2, machine.l2 // 2, (machine.l2 + l3_share) // 2 if l3_share > 2 * machine.l2 else 0]


class _Team:
    """Runs one function in several threads that start together; the C functions release the GIL."""

    def __init__(self, pool: ThreadPoolExecutor, size: int) -> None:
        self.pool = pool
        self.size = size

    def seconds(self, work: _Work, rounds: int) -> float:
        """Time of the slowest thread for ``work(thread, rounds)``."""
        barrier = threading.Barrier(self.size)

        def run(thread: int) -> float:
            barrier.wait()
            start = time.perf_counter()
            work(thread, rounds)
            return time.perf_counter() - start

        return max(self.pool.map(run, range(self.size)))

    def best(self, work: _Work, *, rounds: int = 1) -> float:
        """Least seconds per round over a few runs of about ``_RUN`` seconds each."""
        seconds = self.seconds(work, rounds)
        while seconds < _RUN / 4:
            rounds *= 4
            seconds = self.seconds(work, rounds)
        rounds = max(1, int(rounds * _RUN / seconds))
        return min(self.seconds(work, rounds) for _ in range(_REPEATS)) / rounds


def _fma(library: ctypes.CDLL, kind: str, team: _Team) -> float:
    """FLOP/s of independent FMA chains; 0 when the machine has no such unit."""
    flops = getattr(library, f"kw_flops_{kind}")()
    if flops == 0:
        return 0.0
    function = getattr(library, f"kw_fma_{kind}")
    return float(team.size * flops / team.best(lambda _, rounds: function(rounds), rounds=100_000))


def _memory(library: ctypes.CDLL, team: _Team, size: int) -> tuple[float, float]:
    """Copy and read bandwidth in GB/s of buffers too large for any cache."""
    floats = size // 4 // team.size
    sources, targets = _buffers(library, team, floats), _buffers(library, team, floats)
    each = team.size * floats * 4 / 1e9
    copied = team.best(lambda t, rounds: library.kw_copy(targets[t], sources[t], floats, rounds))
    read = team.best(lambda t, rounds: library.kw_read(sources[t], floats, rounds))
    return 2 * each / copied, each / read


def _cache(library: ctypes.CDLL, team: _Team, size: int) -> float:
    """Read bandwidth in GB/s of all cores from blocks of ``size`` bytes each."""
    if size < 4096:
        return 0.0
    floats = size // 4
    blocks = _buffers(library, team, floats)
    seconds = team.best(lambda t, rounds: library.kw_read(blocks[t], floats, rounds), rounds=16)
    return team.size * size / seconds / 1e9


def _buffers(library: ctypes.CDLL, team: _Team, floats: int) -> list[ctypes.Array[ctypes.c_float]]:
    """One buffer per thread, first touched by the thread that will use it."""
    buffers = [(ctypes.c_float * floats)() for _ in range(team.size)]
    team.seconds(lambda t, _: library.kw_fill(buffers[t], floats), 1)
    return buffers


def _build(compiler: Compiler) -> ctypes.CDLL | None:
    """Compile and load the loops; None when the compiler cannot."""
    with contextlib.ExitStack() as stack:
        try:
            output = stack.enter_context(scratch_folder()) / "peaks.so"
        except OSError:  # the cache cannot be written: peaks are measured all the same
            output = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "peaks.so"
        flags = ["-O3", *compiler.native_flags(), "-ffp-contract=fast", "-std=c++20", "-shared", "-fPIC"]
        if compiler.kind == "zig":  # it would build its own libc++ first, which takes a minute and is not used
            flags += ["-nostdlib++", "-nostdinc++"]
        try:
            subprocess.run(
                [*compiler.argv, *flags, str(_SOURCE), "-o", str(output)], capture_output=True, check=True, timeout=120
            )
            library = ctypes.CDLL(str(output))
        except (OSError, subprocess.SubprocessError):
            return None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    for name, arguments in (
        ("kw_copy", [pointer, pointer, count, count]),
        ("kw_read", [pointer, count, count]),
        ("kw_fma_f32", [count]),
        ("kw_fma_f64", [count]),
        ("kw_fma_bf16", [count]),
    ):
        getattr(library, name).argtypes = arguments
        getattr(library, name).restype = ctypes.c_double
    library.kw_fill.argtypes = [pointer, count]
    library.kw_fill.restype = None
    for kind in ("f32", "f64", "bf16"):
        getattr(library, f"kw_flops_{kind}").restype = count
    return library


def _by_torch(machine: Machine) -> Peaks:
    """Peaks without a compiler: what torch's own matmul, copy and sum reach, which is a lower bound."""
    import torch

    def best(work: Callable[[], object]) -> float:
        work()
        times = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    def matmul(dtype: torch.dtype) -> float:
        n = 768
        a, b = torch.ones(n, n, dtype=dtype), torch.ones(n, n, dtype=dtype)
        return 2.0 * n**3 / best(lambda: a @ b)

    source = torch.ones(max(2 * machine.l3, 64 << 20) // 4)
    target = torch.empty_like(source)
    size = source.numel() * 4 / 1e9
    copy, read = 2 * size / best(lambda: target.copy_(source)), size / best(source.sum)
    kinds = (torch.float32, torch.float64, torch.bfloat16)
    total = [matmul(dtype) for dtype in kinds]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        core = [matmul(dtype) for dtype in kinds]
    finally:
        torch.set_num_threads(threads)
    return Peaks(copy, read, 0.0, 0.0, 0.0, core[0], core[1], core[2], total[0], total[1], total[2], "torch.matmul")
