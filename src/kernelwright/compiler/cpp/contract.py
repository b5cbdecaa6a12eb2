"""Generates C++ for contractions: chooses among strategies and prints the chosen one.

See :class:`GemmSchedule` for the strategies; :func:`schedules` lists those worth measuring, best guess first.
"""

from __future__ import annotations

from ..contraction import Contraction, classify, is_contraction
from ..program import Program, Reduce
from ._code import KernelCode
from ._gemm import emit_gemm
from ._schedule import Cache, GemmSchedule, gemm_schedules

__all__ = ["Cache", "GemmSchedule", "emit_contraction", "is_contraction", "schedules"]


def schedules(program: Program, statement: Reduce, machine: Cache | None = None) -> list[GemmSchedule]:
    """Schedules for a contraction, best guess first."""
    return _schedules(classify(program, statement), machine or Cache())


def emit_contraction(
    program: Program, statement: Reduce, name: str, schedule: GemmSchedule | None = None
) -> KernelCode:
    """The kernel of a statement that satisfies :func:`is_contraction`."""
    parts = classify(program, statement)
    return emit_gemm(program, statement, parts, name, schedule or _schedules(parts, Cache())[0])


def _schedules(parts: Contraction, cache: Cache) -> list[GemmSchedule]:
    return gemm_schedules(parts, cache)
