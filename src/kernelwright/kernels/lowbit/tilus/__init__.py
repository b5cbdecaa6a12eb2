"""Tile programs for numbers of few bits: an algebra of register layouts, instructions as data, CUDA C++ from both."""

from __future__ import annotations

from ._emit import emit
from ._expression import Expression
from ._fragments import FRAGMENT_A, FRAGMENT_B, FRAGMENT_C, fragments
from ._interpret import interpret, to_bits, to_values
from ._layout import (
    Digit,
    Layout,
    auto_local_spatial,
    byte_layout,
    check_view,
    column_local,
    column_spatial,
    concat,
    local,
    replicated,
    spatial,
)
from ._matmul import Schedule, TileProduct, candidate, source
from ._program import BF16, F16, F32, Program, TileProgram
from ._weights import change_layout, restore_layout, weight_layout

__all__ = [
    "BF16",
    "F16",
    "F32",
    "FRAGMENT_A",
    "FRAGMENT_B",
    "FRAGMENT_C",
    "Digit",
    "Expression",
    "Layout",
    "Program",
    "Schedule",
    "TileProduct",
    "TileProgram",
    "auto_local_spatial",
    "byte_layout",
    "candidate",
    "change_layout",
    "check_view",
    "column_local",
    "column_spatial",
    "concat",
    "emit",
    "fragments",
    "interpret",
    "local",
    "replicated",
    "restore_layout",
    "source",
    "spatial",
    "to_bits",
    "to_values",
    "weight_layout",
]
