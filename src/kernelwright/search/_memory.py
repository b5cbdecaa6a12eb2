"""What a search takes from the archive and leaves in it: the second run is instant, the lock decides among machines."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..archive import Archive, WinnerRow, find_entry, pinned, read_lock
from ..judge import Check, Measurement, Ratio, Verdict
from ..machine import describe, fingerprint
from ..targets import Candidate
from ..targets.cpu import toolchain
from ..task import Task
from ._outcome import Outcome, Trial


@dataclass(frozen=True)
class Recalled:
    """A winner of the archive: ``outcome`` when it may be served as it is, else only a candidate to judge again."""

    candidate: Candidate
    outcome: Outcome | None
    why: str = ""


def shape_class(task: Task) -> str:
    """The box of sizes that a winner serves, as text: "fixed", or the ranges of what varies."""
    return ",".join(f"{d.arg}.{d.dim}:{d.lo}-{d.hi}" for d in task.dynamic) or "fixed"


LOCK_FILE = Path("kernelwright.lock")  # read from the working directory when nothing else is named


class Memory:
    """The archive as seen by the search of one task. Each trial is recorded as it is judged: a kill loses nothing."""

    def __init__(self, archive: Archive, task: Task, target: str) -> None:
        self._archive, self._task, self._target = archive, task, target
        machine = describe()
        self._machine = fingerprint(machine)
        self._classes = shape_class(task)
        self._toolchain = toolchain()
        # A task with a key is known without its payload, which is the user's data.
        archive.record_task(replace(task, payload=b"") if task.key else task)
        archive.record_machine(self._machine, asdict(machine))

    def recall(self, lock: Path | None = None) -> Recalled | None:
        """The winner for this task on this machine; the lock file's pin goes before the archive's own choice."""
        start = time.perf_counter()
        winner = self._winner(lock)
        row = self._archive.candidate(winner.candidate) if winner else None
        if winner is None or row is None:
            return None
        about = (self._task.digest, winner.candidate, self._machine, self._classes)
        verdict, measurement = self._archive.verdict(*about), self._archive.measurement(*about)
        if winner.needs_reverification or not verdict or not measurement:
            return Recalled(row.candidate, None, winner.why or "it was not judged on this machine")
        content = measurement.content
        outcome = Outcome(
            task=self._task,
            status=content["status"],
            winner=row.candidate,
            verdict=_verdict(verdict.content),
            measurement=_measurement(content),
            candidates=(),
            seconds=time.perf_counter() - start,
            reason=content["reason"],
            from_archive=True,
            cost=None,
        )
        return Recalled(row.candidate, outcome)

    def verdict(self, candidate: Candidate) -> Verdict | None:
        """What was said of a candidate on this machine, built as it is built now: so that a killed run resumes."""
        row = self._archive.verdict(self._task.digest, candidate.digest, self._machine, self._classes)
        if row is None or row.toolchain != self._toolchain or row.status == "unjudged":
            return None
        return _verdict(row.content)

    def record(self, trial: Trial) -> None:
        """One candidate and what the judge said of it."""
        digest = self._archive.record_candidate(self._task.digest, trial.candidate)
        about = {"shape_class": self._classes, "toolchain": self._toolchain}
        self._archive.record_verdict(self._task.digest, digest, self._machine, asdict(trial.verdict), **about)
        if trial.measurement is not None:
            content = {**asdict(trial.measurement), "status": "", "reason": ""}
            self._archive.record_measurement(self._task.digest, digest, self._machine, content, **about)

    def crown(self, outcome: Outcome) -> None:
        """Remember the winner of a finished search, with its measurement against every rival."""
        if outcome.winner is None or outcome.verdict is None or outcome.measurement is None:
            return
        self.record(Trial(outcome.winner, outcome.verdict, outcome.measurement, outcome.seconds))
        task, digest = self._task, outcome.winner.digest
        content = {**asdict(outcome.measurement), "status": outcome.status, "reason": outcome.reason}
        about = {"shape_class": self._classes, "toolchain": self._toolchain}
        self._archive.record_measurement(task.digest, digest, self._machine, content, **about)
        key = (task.digest, self._classes, task.dtype, self._target, self._machine)
        self._archive.set_winner(*key, digest, toolchain=self._toolchain)

    def _winner(self, lock: Path | None) -> WinnerRow | None:
        path = lock or LOCK_FILE
        key = (self._task.digest, self._classes, self._task.dtype, self._target)
        if path.exists():
            pin = find_entry(read_lock(path), *key)
            if pin is not None:
                return pinned(self._archive, pin, machine=self._machine, toolchain=self._toolchain)
        return self._archive.winner(*key, self._machine, toolchain=self._toolchain)


def _verdict(content: dict[str, Any]) -> Verdict:
    checks = tuple(Check(**check) for check in content["checks"])
    return Verdict(**{**content, "checks": checks})


def _measurement(content: dict[str, Any]) -> Measurement:
    fields = {name: content[name] for name in Measurement.__dataclass_fields__ if name in content}
    speedup = {name: Ratio(**ratio) for name, ratio in content["speedup"].items()}
    return Measurement(**{**fields, "speedup": speedup, "notes": tuple(content["notes"])})
