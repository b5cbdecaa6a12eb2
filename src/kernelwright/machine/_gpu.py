"""GPUs: what a kernel for one may use, and what it can do at best. From the vendor's tables: no GPU is asked.

A machine without a GPU compiles for one all the same, so its limits must be known as data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


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


def find_gpu() -> str:
    """The name of the GPU that torch can use here; "" where there is none."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""
