"""What every generator of CUDA C++ hands to the module assembler: kernels, and the lines that launch them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..program import Size


@dataclass(frozen=True)
class CudaCode:
    """Some kernels that run one after the other.

    ``source`` is CUDA C++: ``extern "C" __global__`` functions whose names begin with ``name``. ``launches`` are lines
    of a launch table (targets/cuda/_launches.py), in which tensors and symbols go by the program's names and
    ``NAME_scratch`` is the byte where this code's ``scratch`` bytes of the workspace begin. ``touched`` names every
    tensor that a call needs. ``schedule`` holds the decisions as JSON values.
    """

    name: str
    source: str
    launches: tuple[str, ...]
    touched: tuple[str, ...]
    scratch: Size = 0
    schedule: Mapping[str, object] = field(default_factory=dict)
