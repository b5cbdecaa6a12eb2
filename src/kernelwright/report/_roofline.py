"""The roofline picture: how near a kernel comes to what this machine was measured to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelwright.report._format import rate_text, seconds_text
from kernelwright.report._svg import Canvas, Scale, log_ticks, shorten, spread
from kernelwright.report._terminal import RIVAL_NAMES

if TYPE_CHECKING:
    from kernelwright.search._outcome import Outcome

LEFT, RIGHT, TOP, BOTTOM = 70.0, 186.0, 20.0, 48.0
WIDTH, HEIGHT = 560.0, 340.0


@dataclass(frozen=True)
class Ceilings:
    """Measured bounds: bytes per second of a copy, floating point operations per second of all cores."""

    bandwidth: float
    flops: float


@dataclass(frozen=True)
class Point:
    """One program in the picture: its label, its style and its seconds per call."""

    label: str
    css: str
    seconds: float


def svg_roofline(outcome: Outcome, ceilings: Ceilings | None, *, standalone: bool = False) -> str:
    """Rate over arithmetic intensity, both logarithmic, under the measured ceilings; bytes per second without flops."""
    points = _points(outcome)
    cost = outcome.cost
    if cost is None or ceilings is None or not points:
        canvas = Canvas(WIDTH, 40, "Roofline")
        missing = "the task's cost" if cost is None else "the machine's peaks" if ceilings is None else "a measurement"
        canvas.text(0, 24, f"No roofline: {missing} is not known.", "muted")
        return canvas.svg(standalone)
    if cost.flops <= 0 or cost.bytes <= 0:
        return _bandwidth_bars(points, cost.bytes, ceilings).svg(standalone)
    return _loglog(points, cost.flops, cost.bytes, ceilings).svg(standalone)


def _points(outcome: Outcome) -> list[Point]:
    """The winner and the rivals that were timed."""
    measured = outcome.measurement
    if measured is None:
        return []
    label = outcome.winner.label or outcome.winner.proposer if outcome.winner is not None else "candidate"
    own = [] if outcome.status != "won" else [Point(label, "own", measured.seconds)]
    rivals = [Point(RIVAL_NAMES.get(k, k), k, s) for k, s in measured.rivals.items()]
    return [p for p in own + rivals if p.seconds > 0 and math.isfinite(p.seconds)]


def _loglog(points: Sequence[Point], flops: float, bytes_: float, ceilings: Ceilings) -> Canvas:
    """The classic picture; every point has the task's intensity, so they stand above one another."""
    canvas = Canvas(WIDTH, HEIGHT, "Roofline")
    intensity, ridge = flops / bytes_, ceilings.flops / ceilings.bandwidth
    rates = [flops / p.seconds for p in points]
    x = Scale(min(intensity, ridge) / 8, max(intensity, ridge) * 8, LEFT, WIDTH - RIGHT, log=True)
    lowest = min([*rates, ceilings.bandwidth * x.lo])
    y = Scale(lowest / 1.6, max([*rates, ceilings.flops]) * 1.8, HEIGHT - BOTTOM, TOP, log=True)
    _axes(canvas, x, y)
    canvas.path([(x(v), y(min(ceilings.flops, ceilings.bandwidth * v))) for v in (x.lo, ridge, x.hi)], "roof")
    canvas.text(WIDTH - RIGHT - 4, y(ceilings.flops) - 8, rate_text(ceilings.flops, "FLOP/s"), "muted small", "end")
    _bandwidth_label(canvas, x, y, ceilings, ridge)
    bound = min(ceilings.flops, ceilings.bandwidth * intensity)
    canvas.line(x(intensity), y(bound), x(intensity), HEIGHT - BOTTOM, "one")
    at = [y(rate) for rate in rates]
    rows = list(zip(points, rates, at, spread(at, 32, TOP + 10, HEIGHT - BOTTOM - 16), strict=True))
    for point, rate, height, label in reversed(rows):  # ours last, so that no rival hides it
        _point(canvas, point, rate, rate / bound, x(intensity), height, label)
    return canvas


def _point(canvas: Canvas, point: Point, rate: float, share: float, x: float, y: float, label: float) -> None:
    """A dot at its rate, a leader to its label in the margin, where labels cannot overlap."""
    edge = WIDTH - RIGHT + 14
    canvas.path([(x + 6, y), (edge - 12, label), (edge - 4, label)], "lead")
    canvas.circle(x, y, 6, point.css, f"{point.label}: {rate_text(rate, 'FLOP/s')}")
    canvas.text(edge, label, shorten(point.label, 26), "strong small")
    detail = f"{rate_text(rate, 'FLOP/s')} · {100 * share:.0f} % of roof"
    canvas.text(edge, label + 14, detail, "muted small")


def _axes(canvas: Canvas, x: Scale, y: Scale) -> None:
    """Grid, ticks and the names of both axes."""
    for tick in log_ticks(x.lo, x.hi):
        canvas.line(x(tick), TOP, x(tick), HEIGHT - BOTTOM, "grid")
    for tick in _thin(log_ticks(x.lo, x.hi), x, 44):
        canvas.text(x(tick), HEIGHT - BOTTOM + 16, f"{tick:g}", "muted small", "middle")
    for tick in log_ticks(y.lo, y.hi):
        canvas.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid")
    for tick in _thin(log_ticks(y.lo, y.hi), y, 18):
        canvas.text(LEFT - 8, y(tick) + 4, _tick_text(tick), "muted small", "end")
    middle = (LEFT + WIDTH - RIGHT) / 2
    canvas.text(middle, HEIGHT - 10, "arithmetic intensity (FLOP per byte)", "muted", "middle")
    canvas.text(14, HEIGHT / 2, "FLOP/s", "muted", "middle", turn=-90)


def _tick_text(rate: float) -> str:
    """A round rate without decimals: 2e10 gives "20 G"."""
    number, _, prefix = rate_text(rate, "").partition(" ")
    return f"{float(number):g} {prefix}".strip()


def _thin(ticks: Sequence[float], scale: Scale, gap: float) -> list[float]:
    """Only ticks whose labels have room."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or abs(scale(tick) - scale(kept[-1])) >= gap:
            kept.append(tick)
    return kept


def _bandwidth_label(canvas: Canvas, x: Scale, y: Scale, ceilings: Ceilings, ridge: float) -> None:
    """The bandwidth's number along its slope, at the middle of the sloping part."""
    left, right = (x(x.lo), y(ceilings.bandwidth * x.lo)), (x(ridge), y(ceilings.flops))
    turn = math.degrees(math.atan2(right[1] - left[1], right[0] - left[0]))
    at = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2)
    text = f"copy {rate_text(ceilings.bandwidth, 'B/s')}"
    canvas.text(at[0] - 6, at[1] - 8, text, "muted small", "middle", turn=turn)


def _bandwidth_bars(points: Sequence[Point], bytes_: float, ceilings: Ceilings) -> Canvas:
    """Pure data movement has no intensity: bars of bytes per second against the copy bandwidth."""
    canvas = Canvas(WIDTH, TOP + 34 * len(points) + 40, "Bandwidth")
    rates = [bytes_ / p.seconds for p in points]
    scale = Scale(0, max([*rates, ceilings.bandwidth]) * 1.02, 170, WIDTH - 90)
    bottom = TOP + 34 * len(points)
    for index, (point, rate) in enumerate(zip(points, rates, strict=True)):
        y = TOP + 34 * index
        canvas.text(0, y + 20, shorten(point.label, 24), "strong")
        canvas.rect(scale(0), y + 6, scale(rate) - scale(0), 20, point.css, seconds_text(point.seconds))
        canvas.text(scale(rate) + 8, y + 21, f"{rate_text(rate, 'B/s')}", "small muted")
    canvas.line(scale(ceilings.bandwidth), TOP - 4, scale(ceilings.bandwidth), bottom + 6, "one")
    text = f"measured copy {rate_text(ceilings.bandwidth, 'B/s')}"
    canvas.text(scale(ceilings.bandwidth), bottom + 22, text, "muted small", "middle")
    return canvas
