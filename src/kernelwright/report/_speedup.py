"""Bars of speed-ups: one task against its rivals, or a whole suite sorted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernelwright.report._format import interval_text, ratio_text, seconds_text
from kernelwright.report._record import RIVALS, Record, record
from kernelwright.report._svg import Canvas, Scale, linear_ticks, log_ticks, shorten
from kernelwright.report._terminal import RIVAL_NAMES

if TYPE_CHECKING:
    from kernelwright.search._outcome import Outcome

LEFT, RIGHT = 190.0, 170.0
BAR = 11.0  # height of a bar in a suite


def svg_speedup(outcome: Outcome, *, standalone: bool = True, width: float = 760.0) -> str:
    """Speed-up of what is served against each rival, with the 95 % interval as a whisker and 1× as a dashed line.

    ``standalone=True`` gives a file for a README (own style sheet, light and dark); False a part of a report.
    """
    row = record(outcome)
    rows = [(rival, ratio) for rival in RIVALS if (ratio := row.speedup[rival]) is not None]
    top, pitch = 34.0, 46.0
    canvas = Canvas(width, top + pitch * max(len(rows), 1) + 30, f"Speed-up of {row.task}")
    canvas.text(0, 16, row.task, "strong")
    if not rows:
        canvas.text(0, top + 20, "not measured: " + (row.reason or "no rival could be timed"), "muted")
        return canvas.svg(standalone)
    longest = max(max(r, (row.interval[k] or (r, r))[1]) for k, r in rows)
    scale = Scale(0.0, max(longest, 1.0) * 1.02, LEFT, width - RIGHT)
    bottom = top + pitch * len(rows)
    for tick in linear_ticks(0, scale.hi):
        canvas.line(scale(tick), top, scale(tick), bottom, "grid")
        canvas.text(scale(tick), bottom + 16, f"{tick:g}×", "muted small", "middle")
    for index, (rival, ratio) in enumerate(rows):
        _bar(canvas, scale, top + pitch * index, rival, ratio, row, outcome)
    canvas.line(scale(1), top - 4, scale(1), bottom, "one")
    return canvas.svg(standalone)


def _bar(canvas: Canvas, scale: Scale, y: float, rival: str, ratio: float, row: Record, outcome: Outcome) -> None:
    """One rival's bar, whisker and numbers."""
    canvas.text(0, y + 20, f"vs {RIVAL_NAMES[rival]}", "strong")
    measured = outcome.measurement
    if measured is not None and rival in measured.rivals:
        own, other = seconds_text(measured.seconds), seconds_text(measured.rivals[rival])
        canvas.text(0, y + 36, f"{other} → {own}", "muted small")
    canvas.rect(scale(0), y + 10, scale(ratio) - scale(0), 24, "own" if ratio >= 1 else "bad", ratio_text(ratio))
    end, interval = scale(ratio), row.interval[rival]
    if interval is not None and interval[0] < interval[1]:
        low, high = scale(interval[0]), scale(interval[1])
        canvas.line(low, y + 22, high, y + 22, "whisker")
        for x in (low, high):
            canvas.line(x, y + 17, x, y + 27, "whisker")
        end = max(end, high)
    canvas.text(end + 10, y + 27, ratio_text(ratio), "strong")
    if interval is not None and interval[0] < interval[1]:
        canvas.text(end + 60, y + 27, f"({interval_text(interval)})", "muted small")


def svg_suite(records: Sequence[Record], rival: str = "eager", *, standalone: bool = False) -> str:
    """A suite's speed-ups against one rival, sorted, on a logarithmic axis with 1× as its origin."""
    rows = sorted(
        ((r, ratio) for r in records if (ratio := r.speedup[rival]) is not None and ratio > 0), key=lambda p: -p[1]
    )
    width, top, pitch, left = 940.0, 30.0, 17.0, 330.0
    bottom = top + pitch * max(len(rows), 1)
    canvas = Canvas(width, bottom + 12, f"Speed-up against {RIVAL_NAMES[rival]} per task")
    if not rows:
        canvas.text(0, top, f"no task was measured against {RIVAL_NAMES[rival]}", "muted")
        return canvas.svg(standalone)
    lo = min(0.8, min(ratio for _, ratio in rows) / 1.1)
    hi = max(1.25, max(ratio for _, ratio in rows) * 1.1)
    scale = Scale(lo, hi, left, width - 70, log=True)
    for tick in log_ticks(lo, hi):
        canvas.line(scale(tick), top - 6, scale(tick), bottom, "grid")
        canvas.text(scale(tick), top - 12, f"{tick:g}×", "muted small", "middle")
    for index, (row, ratio) in enumerate(rows):
        _suite_bar(canvas, scale, top + pitch * index, left, row, ratio)
    canvas.line(scale(1), top - 6, scale(1), bottom, "one")
    return canvas.svg(standalone)


def _suite_bar(canvas: Canvas, scale: Scale, y: float, left: float, row: Record, ratio: float) -> None:
    """One task's bar, from 1× to its ratio."""
    css = "own" if row.status == "won" and ratio >= 1 else "bad" if ratio < 0.97 else "eager"
    one, end = scale(1), scale(ratio)
    tip = f"{row.task}: {ratio_text(ratio)} ({row.status})"
    canvas.rect(min(one, end), y + 3, abs(end - one), BAR, css, tip)
    canvas.text(left - 10, y + 13, shorten(row.task, 48), "small", "end")
    canvas.text(max(one, end) + 6, y + 13, ratio_text(ratio), "small muted")
