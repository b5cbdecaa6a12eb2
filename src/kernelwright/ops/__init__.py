"""Public operations, served by winners of the search."""

from __future__ import annotations

from ._lowbit import lowbit_matmul, prepare

__all__ = ["lowbit_matmul", "prepare"]
