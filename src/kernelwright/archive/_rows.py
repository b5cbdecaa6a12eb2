"""What the archive gives back: frozen rows, and the conversions between them and the tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kernelwright.archive._faults import Damaged
from kernelwright.archive._recover import checksum

if TYPE_CHECKING:  # importing the task room costs an import of torch, which listing an archive does not need
    from kernelwright.targets.plan import Candidate
    from kernelwright.task import Task


@dataclass(frozen=True)
class TaskRow:
    """A recorded task, without its text; :meth:`Archive.task` gives the whole."""

    digest: str
    name: str
    kind: str
    dtype: str
    recorded: float  # seconds since the epoch, as everywhere here
    candidates: int
    winners: int


@dataclass(frozen=True)
class CandidateRow:
    """A candidate as it was proposed for ``task``; ``digest`` is what it had when recorded."""

    digest: str
    task: str
    candidate: Candidate
    recorded: float


@dataclass(frozen=True)
class VerdictRow:
    """What the judge said of a candidate on a machine; ``content`` is the whole verdict as JSON."""

    task: str
    candidate: str
    shape_class: str
    machine: str
    toolchain: str
    status: str
    content: dict[str, Any]
    recorded: float


@dataclass(frozen=True)
class MeasurementRow:
    """How fast a candidate was on a machine; ``content`` is the whole measurement as JSON."""

    task: str
    candidate: str
    shape_class: str
    machine: str
    toolchain: str
    content: dict[str, Any]
    recorded: float


@dataclass(frozen=True)
class WinnerRow:
    """The candidate to serve. Where ``needs_reverification``, the judge must see it again first; ``why`` says why."""

    task: str
    shape_class: str
    dtype: str
    target: str
    machine: str
    candidate: str
    source_digest: str
    toolchain: str
    recorded: float
    needs_reverification: bool = False
    why: str = ""


@dataclass(frozen=True)
class Found:
    """A record whose digest begins with what was asked for: ``kind`` is "task" or "candidate"."""

    kind: str
    digest: str
    name: str


@dataclass(frozen=True)
class Freed:
    """What :meth:`Archive.gc` removed: rows by table, and bytes of the file."""

    tasks: int = 0
    candidates: int = 0
    verdicts: int = 0
    measurements: int = 0
    winners: int = 0
    machines: int = 0
    bytes: int = 0


def dump(content: Mapping[str, object] | list[object] | tuple[object, ...]) -> str:
    """JSON with sorted keys, so that equal contents are equal texts."""
    return json.dumps(content, sort_keys=True)


def load(text: str) -> dict[str, Any]:
    """The inverse of :func:`dump`."""
    content: dict[str, Any] = json.loads(text)
    return content


def task_values(task: Task) -> tuple[str, bytes]:
    """The JSON of everything but the payload, and the payload."""
    content = asdict(task)
    payload = content.pop("payload")
    return dump(content), payload


def task_from(row: sqlite3.Row) -> Task:
    """The task of a row of ``tasks``."""
    from kernelwright.task import DynamicSize, Task

    if checksum(row["content"], row["payload"]) != row["checksum"]:
        raise Damaged(f"the text of task {row['digest'][:12]} does not match its checksum")
    content = {name: _frozen(value) for name, value in load(row["content"]).items() if name != "dynamic"}
    dynamic = tuple(DynamicSize(**size) for size in load(row["content"])["dynamic"])
    return Task(payload=row["payload"], dynamic=dynamic, **content)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def candidate_from(row: sqlite3.Row) -> CandidateRow:
    """The candidate of a row of ``candidates`` joined with ``proposals``."""
    from kernelwright.targets.plan import Candidate, plan_from_json

    if checksum(row["source"], row["plan"] or "") != row["checksum"]:
        raise Damaged(f"the source of candidate {row['digest'][:12]} does not match its checksum")
    candidate = Candidate(
        target=row["target"],
        proposer=row["proposer"],
        source=row["source"],
        plan=plan_from_json(row["plan"]) if row["plan"] else None,
        label=row["label"],
        schedule=row["schedule"],
        notes=tuple(json.loads(row["notes"])),
    )
    return CandidateRow(row["digest"], row["task"], candidate, row["recorded"])


def verdict_from(row: sqlite3.Row) -> VerdictRow:
    key = (row["task"], row["candidate"], row["shape_class"], row["machine"], row["toolchain"])
    return VerdictRow(*key, row["status"], load(row["content"]), row["recorded"])


def measurement_from(row: sqlite3.Row) -> MeasurementRow:
    key = (row["task"], row["candidate"], row["shape_class"], row["machine"], row["toolchain"])
    return MeasurementRow(*key, load(row["content"]), row["recorded"])


def winner_from(row: sqlite3.Row, machine: str, toolchain: str) -> WinnerRow:
    """The winner of a row, flagged when ``machine`` or ``toolchain`` is not what it was judged with."""
    why = reverification(row["machine"], row["toolchain"], machine, toolchain)
    return WinnerRow(**{key: row[key] for key in _WINNER}, needs_reverification=bool(why), why=why)


def reverification(won_on: str, won_with: str, machine: str, toolchain: str) -> str:
    """Why a winner must be judged again here, "" if it need not."""
    if won_on != machine:
        return f"it won on another machine ({won_on[:12]}, not {machine[:12]})"
    if won_with != toolchain:
        return f"it was built with another toolchain ({won_with or 'none'}, not {toolchain or 'none'})"
    return ""


_WINNER = (
    *("task", "shape_class", "dtype", "target", "machine"),
    *("candidate", "source_digest", "toolchain", "recorded"),
)
