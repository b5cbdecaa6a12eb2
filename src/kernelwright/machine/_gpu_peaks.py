"""Measured peaks of the GPU that is here: what a copy and what the vendor's matrix product reach. Cached on disk.

As on the CPU a peak is an upper bound, so each is the best of many short runs; and it is measured on random numbers,
since products of zeros run at higher clocks than any real ones.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

from kernelwright.errors import GpuMissing
from kernelwright.machine._gpu import find_device
from kernelwright.paths import cache_dir

_COPY = 2 << 30  # bytes that are copied; less where the device has less
_PRODUCTS = {"bfloat16": 8192, "float16": 8192, "tf32": 8192, "float32": 4096, "float64": 4096}
_REPEATS = 12


@dataclass(frozen=True)
class GpuPeaks:
    """Best rates measured on this GPU: ``copy`` and ``read`` in GB/s (a copy counts bytes read plus written).

    ``cache`` is the L2's size in bytes and ``l2`` its bandwidth, 0.0 since it is not measured. ``rates`` are flops per
    second of matrix products by dtype; "tf32" those that round float32 to fewer bits.
    """

    name: str
    copy: float
    rates: Mapping[str, float]
    cache: int
    l2: float = 0.0

    @property
    def read(self) -> float:
        return self.copy

    def flops(self, dtype: str) -> float:
        """Flops per second in a dtype (torch's name). Products of float32 may be rounded, so theirs is the larger."""
        if dtype == "float32":
            return max(self.rates["float32"], self.rates["tf32"])
        return self.rates.get(dtype, self.rates["float32"])


def gpu_peaks(*, refresh: bool = False) -> GpuPeaks:
    """This GPU's peaks, measured the first time and read from the cache folder afterwards. Raises ``GpuMissing``."""
    device = find_device()
    if device is None:
        raise GpuMissing("The peaks of a GPU are measured on it, and there is none here that torch can use.")
    path = cache_dir() / "peaks" / f"{device.fingerprint}.json"
    found = None if refresh else _cached(path)
    if found is None:
        found = _measure(device.name, device.memory, device.cache)
        _store(path, found)
    return found


def _measure(name: str, memory: int, cache: int) -> GpuPeaks:
    import torch

    copy = _copy(min(_COPY, memory // 8))
    rates = {dtype: _product(dtype, side) for dtype, side in _PRODUCTS.items()}
    torch.cuda.empty_cache()
    return GpuPeaks(name, copy, MappingProxyType(rates), cache)


def _copy(size: int) -> float:
    """GB/s of a copy that moves so many bytes, read and written."""
    import torch

    source = torch.randint(0, 255, (size // 2,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / _best(lambda: target.copy_(source)) / 1e9


def _product(dtype: str, side: int) -> float:
    """Flops per second of the vendor's library."""
    import torch

    kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
    a, b = (torch.randn(side, side, device="cuda").to(kind) for _ in range(2))
    out = torch.empty(side, side, dtype=kind, device="cuda")
    with _short_products(dtype == "tf32"):
        return 2.0 * side**3 / _best(lambda: torch.mm(a, b, out=out))


@contextmanager
def _short_products(allowed: bool) -> Iterator[None]:
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _best(work: Callable[[], object]) -> float:
    """Least seconds on the device of one call."""
    import torch

    for _ in range(3):
        work()
    times = []
    for _ in range(_REPEATS):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        work()
        last.record()
        last.synchronize()
        times.append(first.elapsed_time(last) * 1e-3)
    return min(times)


def _cached(path: Path) -> GpuPeaks | None:
    try:
        data = json.loads(path.read_text())
        if set(data) != {f.name for f in fields(GpuPeaks)} or set(data["rates"]) != set(_PRODUCTS):
            return None
        return GpuPeaks(**{**data, "rates": MappingProxyType(data["rates"])})
    except (OSError, ValueError, TypeError, KeyError):  # absent, unreadable or damaged: measure again
        return None


def _store(path: Path, found: GpuPeaks) -> None:
    """Best effort: a cache that cannot be written only costs measuring again."""
    content = {f.name: getattr(found, f.name) for f in fields(GpuPeaks)} | {"rates": dict(found.rates)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(content, file)
        os.replace(file.name, path)
    except OSError:
        return


__all__ = ["GpuPeaks", "gpu_peaks"]
