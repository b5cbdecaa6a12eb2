"""Who wins a final run, and the winner's figures under the two names that every report knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..judge import Measurement, Ratio
from ..targets import Candidate
from ._baselines import EAGER


def ratio_to(measurement: Measurement | None, rival: Candidate) -> float:
    """The median ratio to a rival, 0.0 where there is none."""
    ratio = measurement.speedup.get(rival.label) if measurement is not None else None
    return ratio.median if ratio is not None else 0.0


def by_way_of(measurement: Measurement, best: Candidate, pace: float) -> Measurement:
    """The measurement against eager alone: its ratio follows from that to the ``best`` so far, whose own is ``pace``.

    Eager's time moves from one run to the next with where its memory lies: candidates are told apart by one run only.
    Without a ratio to the best (which fell out of the run), the measurement's own ratio to eager stays.
    """
    ratio = measurement.speedup.get(best.label)
    found = measurement.speedup.get(EAGER.label)
    if ratio is not None:
        found = Ratio(pace * ratio.median, pace * ratio.lo, pace * ratio.hi)
    rivals = {name: seconds for name, seconds in measurement.rivals.items() if name == EAGER.label}
    return replace(measurement, rivals=rivals, speedup={EAGER.label: found} if found is not None else {})


def settle(measurement: Measurement, leader: Candidate, rivals: Sequence[Candidate]) -> tuple[Measurement, Candidate]:
    """The champion of a final run, and its measurement under the names "eager" and "compile" (the better of its modes).

    A rival that is ahead by the median takes the title, noise or not: what the user had is the safer choice. Its
    figures are derived from the same run (ratios of ratios of one interleaved run).
    """
    scale = {
        leader.label: Ratio(1.0, 1.0, 1.0),
        **measurement.speedup,
    }  # a contender's time as a multiple of the leader's
    present = [r for r in (leader, *rivals) if r.label in scale]
    champion = min(present, key=lambda r: scale[r.label].median)  # the leader, which comes first, wins a tie
    unit = scale[champion.label].median
    modes = [r for r in present if r.target == "compile"]
    better = min(modes, key=lambda r: scale[r.label].median, default=None)
    times = {leader.label: measurement.seconds, **measurement.rivals}
    speedup: dict[str, Ratio] = {}
    named: dict[str, float] = {}
    for name, rival in (("eager", EAGER), ("compile", better)):
        if rival is not None and rival.label in scale:
            raw = scale[rival.label]
            own = rival.label == champion.label
            speedup[name] = Ratio(1.0, 1.0, 1.0) if own else Ratio(raw.median / unit, raw.lo / unit, raw.hi / unit)
            named[name] = times[rival.label]
    roofline = measurement.roofline
    if roofline is not None:
        roofline *= measurement.seconds / times[champion.label]
    seconds, rounds, cold = times[champion.label], measurement.rounds, measurement.cold
    return Measurement(seconds, named, speedup, roofline, rounds, cold, measurement.notes), champion
