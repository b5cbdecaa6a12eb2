"""The search curve: the best speed-up found so far over the seconds of the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelwright.report._format import ratio_text, seconds_text
from kernelwright.report._record import distinct
from kernelwright.report._svg import Canvas, Scale, linear_ticks

if TYPE_CHECKING:
    from kernelwright.search._outcome import Outcome, Trial

LEFT, RIGHT, TOP, BOTTOM = 60.0, 66.0, 20.0, 46.0
WIDTH, HEIGHT = 560.0, 340.0


def best_over_time(trials: tuple[Trial, ...], rival: str = "eager") -> list[tuple[float, float]]:
    """(seconds, best ratio so far) at every improvement; only accepted and measured trials count."""
    curve: list[tuple[float, float]] = []
    for trial in sorted(distinct(trials), key=lambda t: t.seconds):
        ratio = _ratio(trial, rival)
        if ratio is not None and trial.verdict.accepted and (not curve or ratio > curve[-1][1]):
            curve.append((trial.seconds, ratio))
    return curve


def svg_curve(outcome: Outcome, *, standalone: bool = False) -> str:
    """Best ratio to eager as steps; a dot per measured candidate, a tick at the bottom per rejected one."""
    curve = best_over_time(outcome.candidates)
    if not curve:
        canvas = Canvas(WIDTH, 40, "Search curve")
        reason = "served from the archive without a search" if outcome.from_archive else "no candidate was measured"
        canvas.text(0, 24, f"No search curve: {reason}.", "muted")
        return canvas.svg(standalone)
    canvas = Canvas(WIDTH, HEIGHT, "Search curve")
    trials = distinct(outcome.candidates)
    took = outcome.seconds if outcome.searched is None else outcome.searched
    end = max([took, *(t.seconds for t in trials)])
    ratios = [r for t in trials if (r := _ratio(t)) is not None]
    x = Scale(0, end * 1.02, LEFT, WIDTH - RIGHT)
    y = Scale(0, max([*ratios, 1.0]) * 1.12, HEIGHT - BOTTOM, TOP)
    _axes(canvas, x, y)
    steps = [(x(0), y(curve[0][1]))] if curve[0][0] <= 0 else []
    for index, (seconds, best) in enumerate(curve):
        if index:
            steps.append((x(seconds), y(curve[index - 1][1])))
        steps.append((x(seconds), y(best)))
    canvas.path([*steps, (x(end), y(curve[-1][1]))], "curve")
    for trial in trials:
        _trial(canvas, trial, x, y)
    canvas.text(x(end) + 8, y(curve[-1][1]) + 4, ratio_text(curve[-1][1]), "strong")
    return canvas.svg(standalone)


def _ratio(trial: Trial, rival: str = "eager") -> float | None:
    """The trial's ratio to the rival where it was measured."""
    ratio = trial.measurement.speedup.get(rival) if trial.measurement is not None else None
    return ratio.median if ratio is not None else None


def _trial(canvas: Canvas, trial: Trial, x: Scale, y: Scale) -> None:
    """A dot where it was measured; a red mark on the axis where it was rejected."""
    label, ratio = trial.candidate.label or trial.candidate.proposer, _ratio(trial)
    if not trial.verdict.accepted:
        tip = f"{label}: {trial.verdict.status}, {trial.verdict.reason}"
        canvas.circle(x(trial.seconds), y.start - 5, 4, "bad", tip)
    elif ratio is not None:
        tip = f"{label}: {ratio_text(ratio)} after {seconds_text(trial.seconds)}"
        css = trial.candidate.target if trial.candidate.target in ("eager", "compile") else "own"
        canvas.circle(x(trial.seconds), y(ratio), 4.5, css, tip)


def _axes(canvas: Canvas, x: Scale, y: Scale) -> None:
    """Grid, ticks and names."""
    for tick in linear_ticks(x.lo, x.hi, 8):
        canvas.text(x(tick), HEIGHT - BOTTOM + 16, f"{tick:g}", "muted small", "middle")
    for tick in linear_ticks(y.lo, y.hi):
        canvas.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid")
        canvas.text(LEFT - 8, y(tick) + 4, f"{tick:g}×", "muted small", "end")
    canvas.line(LEFT, y(1), WIDTH - RIGHT, y(1), "one")
    canvas.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "seconds of search", "muted", "middle")
    canvas.text(14, HEIGHT / 2, "speed-up over eager", "muted", "middle", turn=-90)
