"""One task's row in every JSON document: an outcome boiled down to what another program wants to compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from kernelwright.report._build import build_dict

if TYPE_CHECKING:
    from kernelwright.search._outcome import Outcome, Trial
    from kernelwright.task import Task

RIVALS = ("eager", "compile")
STATUSES = ("won", "baseline", "unmeasured", "unscored", "failed")


@dataclass(frozen=True)
class Record:
    """The result of one task. ``speedup`` and ``interval`` hold a value (or None where not measured) for every rival.

    ``correct`` says that what is served (or, where this machine can time nothing, what would be) was proven to compute
    the task, or is the user's own baseline; ``build`` is what a compiler said of kernels that were not timed.
    ``shrunk`` lists {"argument", "dim", "from", "to"} of the sizes that ``--scale cpu`` made smaller. ``candidates``
    counts what differs: a candidate that was timed twice is one. ``first_winner_seconds``: when the first generated
    candidate was accepted and faster than eager, None if none was. ``compile_seconds``: the compiler's time for each
    candidate that was not in the cache already.
    """

    task: str
    status: str
    correct: bool
    speedup: dict[str, float | None]
    interval: dict[str, tuple[float, float] | None]
    roofline: float | None
    proposer: str | None
    candidates: int
    seconds: float
    reason: str
    shrunk: tuple[dict[str, int], ...] = ()
    first_winner_seconds: float | None = None
    compile_seconds: tuple[float, ...] = ()
    build: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; :meth:`from_dict` is the inverse."""
        data = asdict(self)
        data["interval"] = {rival: None if pair is None else list(pair) for rival, pair in self.interval.items()}
        data["shrunk"], data["compile_seconds"] = list(data["shrunk"]), list(data["compile_seconds"])
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Record:
        """Read a record back."""
        interval = {rival: None if pair is None else (pair[0], pair[1]) for rival, pair in data["interval"].items()}
        compiled = tuple(data.get("compile_seconds", ()))  # a record of an older version has none
        changed = {"interval": interval, "shrunk": tuple(data["shrunk"]), "compile_seconds": compiled}
        return Record(**{**data, **changed})


def record(outcome: Outcome, name: str | None = None) -> Record:
    """Boil an outcome down; ``name`` replaces the task's own name (a suite's path, say)."""
    speedup: dict[str, float | None] = dict.fromkeys(RIVALS)
    interval: dict[str, tuple[float, float] | None] = dict.fromkeys(RIVALS)
    if outcome.measurement is not None:
        for rival, ratio in outcome.measurement.speedup.items():
            if rival in speedup and math.isfinite(ratio.median):
                speedup[rival] = ratio.median
                interval[rival] = _finite_pair(ratio.lo, ratio.hi)
    found = outcome.winner or (outcome.unmeasured.candidate if outcome.unmeasured is not None else None)
    served = outcome.winner.target if outcome.winner is not None else None
    if outcome.status == "baseline" and served in RIVALS:
        # What is served IS this rival, so their ratio is one by definition, whatever a second timing of it said.
        speedup[served], interval[served] = 1.0, (1.0, 1.0)
    return Record(
        task=name or outcome.task.name,
        status=outcome.status,
        correct=outcome.status in ("won", "baseline", "unmeasured"),
        speedup=speedup,
        interval=interval,
        roofline=_finite(outcome.measurement.roofline) if outcome.measurement is not None else None,
        proposer=found.proposer if found is not None else None,
        candidates=len({trial.candidate.digest for trial in outcome.candidates}),
        seconds=outcome.seconds,
        reason=outcome.reason,
        shrunk=shrunk_rows(outcome.task),
        first_winner_seconds=outcome.first_winner_seconds,
        compile_seconds=tuple(t.compile_seconds for t in outcome.candidates if t.compile_seconds is not None),
        build=build_dict(outcome.unmeasured) if outcome.unmeasured is not None else None,
    )


def failed_record(name: str, reason: str, seconds: float) -> Record:
    """The record of a task that never came to an outcome: its process crashed, ran out of time or out of memory."""
    nothing: dict[str, Any] = dict.fromkeys(RIVALS)
    return Record(name, "failed", False, nothing, dict(nothing), None, None, 0, seconds, reason)


def distinct(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """One trial per candidate, in the order of finding: when it was first tried, with its newest verdict and times."""
    merged: dict[str, Trial] = {}
    for trial in trials:
        before = merged.get(trial.candidate.digest, trial)
        measurement = trial.measurement or before.measurement
        merged[trial.candidate.digest] = replace(trial, measurement=measurement, seconds=before.seconds)
    return tuple(merged.values())


def shrunk_rows(task: Task) -> tuple[dict[str, int], ...]:
    """The sizes that were made smaller, self-explaining."""
    return tuple({"argument": a, "dim": d, "from": old, "to": new} for a, d, old, new in task.shrunk)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_pair(lo: float, hi: float) -> tuple[float, float] | None:
    return (lo, hi) if math.isfinite(lo) and math.isfinite(hi) else None
