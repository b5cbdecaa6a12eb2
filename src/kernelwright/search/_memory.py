"""What a search takes from the archive and leaves in it: the second run is instant, the lock decides among machines."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..archive import Archive, LockEntry, read_lock
from ..errors import ArchiveError, LockMismatch
from ..judge import Check, Measurement, Ratio, Verdict
from ..machine import describe, find_compiler, fingerprint
from ..targets import Candidate
from ..task import Task
from ._outcome import Outcome


@dataclass(frozen=True)
class Recalled:
    """A winner of the archive: ``outcome`` when it may be served as it is, else only a candidate to judge again."""

    candidate: Candidate
    outcome: Outcome | None
    why: str = ""


def shape_class(task: Task) -> str:
    """The box of sizes that a winner serves, as text: "fixed", or the ranges of what varies."""
    return ",".join(f"{d.arg}.{d.dim}:{d.lo}-{d.hi}" for d in task.dynamic) or "fixed"


def toolchain() -> str:
    """What builds kernels here, as the archive records it."""
    compiler = find_compiler()
    return compiler.identity if compiler else ""


def recall(archive: Archive, task: Task, target: str, lock: Path | None = None) -> Recalled | None:
    """The winner for this task on this machine; the lock file's pin goes before the archive's own choice."""
    start = time.perf_counter()
    machine = fingerprint(describe())
    classes = shape_class(task)
    winner = archive.winner(task.digest, classes, task.dtype, target, machine, toolchain=toolchain())
    pin = _pin(task, target, lock)
    digest = pin.candidate if pin else (winner.candidate if winner else None)
    if digest is None:
        return None
    row = archive.candidate(digest)
    if row is None:
        raise LockMismatch(
            f"{lock} pins candidate {digest[:12]} for {task.name}, which the archive {archive.path} does not hold: "
            "import it, or generate again with --lock."
        )
    verdict = archive.verdict(task.digest, digest, machine, classes)
    measurement = archive.measurement(task.digest, digest, machine, classes)
    if winner is None or winner.candidate != digest or winner.needs_reverification or not verdict or not measurement:
        return Recalled(row.candidate, None, winner.why if winner else "it was not judged on this machine")
    content = dict(measurement.content)
    outcome = Outcome(
        task=task,
        status=content.pop("status"),
        winner=row.candidate,
        verdict=_verdict(verdict.content),
        measurement=_measurement(content),
        candidates=(),
        seconds=time.perf_counter() - start,
        reason=content.pop("reason", ""),
        from_archive=True,
        cost=None,
    )
    return Recalled(row.candidate, outcome)


def remember(archive: Archive, task: Task, target: str, outcome: Outcome) -> None:
    """Record everything a search found. What cannot be written is the archive's to say, never a lost result."""
    machine = describe()
    key = fingerprint(machine)
    about = {"shape_class": shape_class(task), "toolchain": toolchain()}
    archive.record_task(task)
    archive.record_machine(key, asdict(machine))
    for trial in outcome.candidates:
        digest = archive.record_candidate(task.digest, trial.candidate)
        archive.record_verdict(task.digest, digest, key, asdict(trial.verdict), **about)
        if trial.measurement is not None:
            archive.record_measurement(task.digest, digest, key, _content(trial.measurement, outcome), **about)
    if outcome.winner is not None and outcome.verdict is not None and outcome.measurement is not None:
        digest = outcome.winner.digest
        archive.record_measurement(task.digest, digest, key, _content(outcome.measurement, outcome), **about)
        try:
            archive.set_winner(
                task.digest, about["shape_class"], task.dtype, target, key, digest, toolchain=about["toolchain"]
            )
        except ArchiveError:  # a later verdict on the same candidate, by another process, took the title away
            return


def _pin(task: Task, target: str, lock: Path | None) -> LockEntry | None:
    if lock is None or not lock.exists():
        return None
    key = (task.digest, shape_class(task), task.dtype, target)
    return next((pin for pin in read_lock(lock) if pin.key == key), None)


def _content(measurement: Measurement, outcome: Outcome) -> dict[str, Any]:
    return {**asdict(measurement), "status": outcome.status, "reason": outcome.reason}


def _verdict(content: dict[str, Any]) -> Verdict:
    checks = tuple(Check(**check) for check in content["checks"])
    return Verdict(**{**content, "checks": checks})


def _measurement(content: dict[str, Any]) -> Measurement:
    fields = {name: content[name] for name in Measurement.__dataclass_fields__ if name in content}
    return Measurement(**{**fields, "speedup": {name: Ratio(**ratio) for name, ratio in content["speedup"].items()}})
