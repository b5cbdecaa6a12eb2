"""What every Triton generator hands to the module assembler: kernels and the Python function that launches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..program import Size


@dataclass(frozen=True)
class TritonCode:
    """One launcher with its kernels.

    ``source`` is Python at module level: ``@triton.jit`` functions (their names begin with ``name``), then ``def
    NAME(TENSORS, SYMBOLS, workspace)``, which launches them and returns nothing. The launcher takes one torch tensor
    per name in ``tensors`` (its memory begins where that of the program's tensor does; shape and strides are not to be
    relied on), one int per name in ``symbols``, and a uint8 tensor ``workspace`` only when ``scratch`` (bytes) is not
    0. ``helpers`` names functions of ``_helpers.HELPERS`` that the kernels call; the assembler prints each once.
    ``schedule`` holds the decisions as JSON values.
    """

    name: str
    source: str
    tensors: tuple[str, ...]
    symbols: tuple[str, ...] = ()
    scratch: Size = 0
    helpers: frozenset[str] = frozenset()
    schedule: Mapping[str, object] = field(default_factory=dict)

    @property
    def touched(self) -> tuple[str, ...]:
        """Every tensor that a call needs."""
        return self.tensors
