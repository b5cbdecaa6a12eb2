"""GPUs: what a kernel for one may use and what it can do at best, from the vendor's tables; and the one that is here.

A machine without a GPU compiles for one all the same, so its limits must be known as data.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_USUAL_CACHE = 64 << 20  # bytes of L2 where torch does not tell


@dataclass(frozen=True)
class Gpu:
    """Limits in registers, bytes, threads and blocks; ``peaks`` are flops per second by precision.

    ``bandwidth`` is of device memory in bytes per second. "float32" means products that are rounded as IEEE asks,
    "tf32" those of the matrix units.
    """

    name: str
    capability: int  # 90 for sm_90
    sms: int
    registers_thread: int
    registers_block: int
    registers_sm: int
    shared_block: int
    shared_sm: int
    threads_block: int
    threads_sm: int
    blocks_sm: int
    bandwidth: float
    peaks: Mapping[str, float]
    warp: int = 32

    @property
    def architecture(self) -> str:
        return f"sm_{self.capability}"


# NVIDIA's H200 data sheet (dense rates of the SXM module) and the CUDA programming guide's table for 9.0.
H200 = Gpu(
    name="NVIDIA H200",
    capability=90,
    sms=132,
    registers_thread=255,
    registers_block=65536,
    registers_sm=65536,
    shared_block=227 << 10,
    shared_sm=228 << 10,
    threads_block=1024,
    threads_sm=2048,
    blocks_sm=32,
    bandwidth=4.8e12,
    peaks=MappingProxyType(
        {"float64": 34e12, "float32": 67e12, "tf32": 494.5e12, "bfloat16": 989.5e12, "float16": 989.5e12}
    ),
)


@dataclass(frozen=True)
class Device:
    """The GPU that torch uses here: what it says of itself. ``memory`` and ``cache`` (the L2) in bytes."""

    name: str
    capability: int  # 90 for sm_90
    sms: int
    memory: int
    cache: int

    @property
    def architecture(self) -> str:
        return f"sm_{self.capability}"

    @property
    def fingerprint(self) -> str:
        """A stable key of what decides a kernel's speed: not the clocks, nor what the driver keeps for itself."""
        content = json.dumps([self.name, self.capability, self.sms, self.memory >> 30, self.cache >> 20])
        slug = re.sub("[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return f"{slug}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


@functools.cache
def find_device() -> Device | None:
    """The GPU that torch can use here; None where there is none."""
    import torch

    if not torch.cuda.is_available():
        return None
    told = torch.cuda.get_device_properties(torch.cuda.current_device())
    cache = int(getattr(told, "L2_cache_size", 0)) or _USUAL_CACHE
    capability = 10 * told.major + told.minor
    return Device(str(told.name), capability, int(told.multi_processor_count), int(told.total_memory), cache)


def find_gpu() -> str:
    """The name of the GPU that torch can use here; "" where there is none."""
    device = find_device()
    return device.name if device is not None else ""
