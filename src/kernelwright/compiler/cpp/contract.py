"""Generates C++ for contractions: chooses among strategies and prints the chosen one.

See :class:`GemmSchedule` for the strategies; :func:`schedules` lists those worth measuring, best guess first.
"""

from __future__ import annotations

from ..contraction import Contraction, classify, is_contraction
from ..phases import find_convolution
from ..program import Program, Reduce
from ._channels import channel_schedules, emit_channels, find_channels
from ._code import KernelCode
from ._direct import direct_schedules, emit_direct, find_direct, prefers_direct
from ._gemm import emit_gemm
from ._matvec import emit_matvec, matvec_schedules
from ._phases import convolution_schedules, emit_phases, prefers_phases
from ._schedule import Cache, GemmSchedule, gemm_cost, gemm_schedules
from ._window import emit_window, find_window, window_schedules

__all__ = ["Cache", "GemmSchedule", "emit_contraction", "is_contraction", "schedules"]


def schedules(program: Program, statement: Reduce, machine: Cache | None = None) -> list[GemmSchedule]:
    """Schedules for a contraction, best guess first."""
    return _schedules(program, statement, classify(program, statement), machine or Cache())


def emit_contraction(
    program: Program, statement: Reduce, name: str, schedule: GemmSchedule | None = None
) -> KernelCode:
    """The kernel of a statement that satisfies :func:`is_contraction`."""
    parts = classify(program, statement)
    chosen = schedule or _schedules(program, statement, parts, Cache())[0]
    if chosen.strategy == "phases":
        found = find_convolution(program, statement)
        assert found is not None
        return emit_phases(program, found, name, chosen)
    return _EMITTERS[chosen.strategy](program, statement, parts, name, chosen)


_EMITTERS = {
    "gemm": emit_gemm,
    "split-k": emit_gemm,
    "window": emit_window,
    "channels": emit_channels,
    "direct": emit_direct,
    "dot": emit_matvec,
    "axpy": emit_matvec,
}


def _schedules(program: Program, statement: Reduce, parts: Contraction, cache: Cache) -> list[GemmSchedule]:
    blocked = gemm_schedules(parts, cache)
    window = find_window(program, parts)
    channels = find_channels(program, parts)
    lanes = channel_schedules(program, statement, channels, cache.workers) if channels is not None else []
    if window is not None:
        return [*lanes, *window_schedules(window, cache.workers), blocked[0]]
    if lanes:
        return [*lanes, blocked[0]]
    ranked = _with_direct(program, statement, parts, blocked, cache)
    return [*matvec_schedules(program, parts, cache.workers), *_with_phases(program, statement, parts, ranked, cache)]


def _with_direct(
    program: Program, statement: Reduce, parts: Contraction, blocked: list[GemmSchedule], cache: Cache
) -> list[GemmSchedule]:
    """Add direct convolutions, in front where they have less to do."""
    found = find_direct(program, parts)
    ranked = direct_schedules(found, cache) if found is not None else []
    if found is None or not ranked:
        return blocked
    (cost, first), *others = ranked
    if prefers_direct(program, statement, found, cost, gemm_cost(parts, blocked[0])):
        return [first, blocked[0], *(schedule for _, schedule in others), *blocked[1:]]
    return [blocked[0], first, *blocked[1:]]


def _with_phases(
    program: Program, statement: Reduce, parts: Contraction, ranked: list[GemmSchedule], cache: Cache
) -> list[GemmSchedule]:
    """Add convolutions that read their input where it lies, in front of a blocked product that has more to pack."""
    found = find_convolution(program, statement)
    phases = convolution_schedules(found, cache) if found is not None else []
    if found is None or not phases:
        return ranked
    best = ranked[0]
    if best.strategy == "gemm" and prefers_phases(found, phases[0], gemm_cost(parts, best)):
        return [phases[0], *ranked, *phases[1:]]
    return [*ranked, phases[0]]
