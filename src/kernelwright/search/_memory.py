"""What a search takes from the archive and leaves in it: the second run is instant, the lock decides among machines."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import kernelwright

from ..archive import Archive, WinnerRow, find_entry, pinned, read_lock
from ..judge import Verdict, measurement_from_json, verdict_from_json
from ..machine import describe, find_device, fingerprint, versions
from ..targets import Candidate
from ..targets.cpu import toolchain
from ..task import Cost, Task
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
        self._machine, machine = machine_of(target)
        self._classes = shape_class(task)
        self._toolchain = toolchain_of(target)
        # A task with a key is known without its payload, which is the user's data.
        archive.record_task(replace(task, payload=b"") if task.key else task)
        archive.record_machine(self._machine, machine)

    def recall(self, level: int, budget: float, lock: Path | None = None) -> Recalled | None:
        """The winner for this task on this machine; the lock file's pin goes before the archive's own choice.

        A winner is good enough for efforts of the same and of lower levels. That nothing was found is believed for as
        long as the same compiler looks with no more effort and no larger budget.
        """
        start = time.perf_counter()
        pin = self._pin(lock)
        winner = pin or self._archive.winner(*self._key, self._machine, toolchain=self._toolchain)
        if winner is None:
            return None
        known = {row.digest: row.candidate for row in self._archive.candidates(self._task.digest)}
        candidate = known.get(winner.candidate)
        if candidate is None:
            return None
        about = (self._task.digest, winner.candidate, self._machine, self._classes)
        verdict, measurement = self._archive.verdict(*about), self._archive.measurement(*about)
        if winner.needs_reverification or not verdict or not measurement:
            return Recalled(candidate, None, winner.why or "it was not judged on this machine")
        search = self._archive.search(*self._key, self._machine)
        why = "" if pin is not None else _unfinished(search, level, budget)
        if why:
            return Recalled(candidate, None, why)
        search = search or {}
        status = "baseline" if candidate.proposer == "baseline" else "won"
        if search.get("status") == "unscored":
            status = "unscored"
        outcome = Outcome(
            task=self._task,
            status=status,
            winner=candidate,
            verdict=verdict_from_json(verdict.content),
            measurement=measurement_from_json(measurement.content),
            candidates=_trials(search.get("trials", ()), known),
            seconds=time.perf_counter() - start,
            reason=search.get("reason", "") if status != "won" else "",
            from_archive=True,
            cost=Cost(**search["cost"]) if search.get("cost") else None,
            first_winner_seconds=search.get("first_winner_seconds"),
            searched=search.get("searched"),
            versions=search.get("versions", {}),
        )
        return Recalled(candidate, outcome)

    def verdict(self, candidate: Candidate) -> Verdict | None:
        """What was said of a candidate on this machine, built as it is built now: so that a killed run resumes."""
        row = self._archive.verdict(self._task.digest, candidate.digest, self._machine, self._classes)
        if row is None or row.toolchain != self._toolchain or row.status == "unjudged":
            return None
        return verdict_from_json(row.content)

    def record(self, trial: Trial) -> None:
        """One candidate and what the judge said of it."""
        digest = self._archive.record_candidate(self._task.digest, trial.candidate)
        about = {"shape_class": self._classes, "toolchain": self._toolchain}
        self._archive.record_verdict(self._task.digest, digest, self._machine, asdict(trial.verdict), **about)
        if trial.measurement is not None:
            content = asdict(trial.measurement)
            self._archive.record_measurement(self._task.digest, digest, self._machine, content, **about)

    def crown(self, outcome: Outcome, level: int, budget: float) -> None:
        """Remember the winner of a finished search, its measurement against every rival, and how it was found."""
        if outcome.winner is None or outcome.verdict is None or outcome.measurement is None:
            return
        self.record(Trial(outcome.winner, outcome.verdict, outcome.measurement, outcome.seconds))
        search = {
            **{"level": level, "budget": budget, "maker": maker(), "status": outcome.status, "reason": outcome.reason},
            **{"searched": outcome.searched, "first_winner_seconds": outcome.first_winner_seconds},
            "cost": asdict(outcome.cost) if outcome.cost is not None else None,
            "trials": [_trial_content(trial) for trial in outcome.candidates],
            "versions": versions(),
        }
        key = (*self._key, self._machine)
        self._archive.set_winner(*key, outcome.winner.digest, toolchain=self._toolchain, search=search)

    @property
    def _key(self) -> tuple[str, str, str, str]:
        return self._task.digest, self._classes, self._task.dtype, self._target

    def _pin(self, lock: Path | None) -> WinnerRow | None:
        path = lock or LOCK_FILE
        pin = find_entry(read_lock(path), *self._key) if path.exists() else None
        if pin is None:
            return None
        return pinned(self._archive, pin, machine=self._machine, toolchain=self._toolchain)


def machine_of(target: str) -> tuple[str, dict[str, Any]]:
    """The fingerprint and the description of what a target's kernels are judged on here: the GPU, if there is one."""
    machine, gpu = describe(), find_device() if target in ("triton", "cuda") else None
    if gpu is None:
        return fingerprint(machine), asdict(machine)
    return gpu.fingerprint, {**asdict(machine), "gpu": asdict(gpu)}


def toolchain_of(target: str) -> str:
    """What decides the machine code of this target's sources here."""
    if target == "triton":
        from ..targets.triton import toolchain as triton_toolchain

        gpu = find_device()
        return f"{triton_toolchain()}, run on {gpu.architecture}" if gpu is not None else triton_toolchain()
    if target == "cuda":
        from ..targets.cuda import toolchain as cuda_toolchain

        return cuda_toolchain()
    return toolchain()


@functools.cache
def maker() -> str:
    """Who would search now: the version of kernelwright and the digest of its compiler's sources."""
    root = Path(kernelwright.__file__).parent
    digest = hashlib.sha256(kernelwright.__version__.encode())
    for path in sorted((root / "compiler").rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _unfinished(search: Mapping[str, Any] | None, level: int, budget: float) -> str:
    """Why what an archived search found is not enough, "" if it is."""
    if search is None:
        return "how it was found is not known"
    if level > search["level"]:
        return "more effort is asked for than was spent on it"
    if search["status"] in ("won", "unscored"):
        return ""
    if budget > search["budget"]:
        return "nothing was found with a smaller budget"
    return "" if search["maker"] == maker() else "nothing was found by another version of the compiler"


def _trial_content(trial: Trial) -> dict[str, Any]:
    return {
        "candidate": trial.candidate.digest,
        "verdict": asdict(trial.verdict),
        "measurement": asdict(trial.measurement) if trial.measurement is not None else None,
        "seconds": trial.seconds,
        "compile_seconds": trial.compile_seconds,
    }


def _trials(contents: Iterable[Mapping[str, Any]], known: Mapping[str, Candidate]) -> tuple[Trial, ...]:
    """The trials of a search, as far as their candidates are still there."""
    return tuple(
        Trial(
            known[content["candidate"]],
            verdict_from_json(content["verdict"]),
            measurement_from_json(content["measurement"]) if content["measurement"] is not None else None,
            content["seconds"],
            content["compile_seconds"],
        )
        for content in contents
        if content["candidate"] in known
    )
