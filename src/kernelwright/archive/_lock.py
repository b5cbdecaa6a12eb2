"""``kernelwright.lock`` pins winners by digest, so that every process, rank and run picks the same.

The file is JSON, sorted and indented, meant to be committed and to be read in a diff.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelwright.archive._rows import WinnerRow, reverification
from kernelwright.errors import ArchiveTooNew, LockMismatch

if TYPE_CHECKING:
    from kernelwright.archive._store import Archive

VERSION = 1


@dataclass(frozen=True, order=True)
class LockEntry:
    """One pin: the candidate and the sha256 of its source for a task, shape class, dtype and target.

    ``name`` is the task's, for the reader; ``machine`` and ``toolchain`` say where and with what it won.
    """

    task: str
    shape_class: str
    dtype: str
    target: str
    candidate: str
    source_digest: str
    machine: str = ""
    toolchain: str = ""
    name: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.task, self.shape_class, self.dtype, self.target


def entry_of(winner: WinnerRow, name: str = "") -> LockEntry:
    """The pin of a winner."""
    values = {field.name: getattr(winner, field.name) for field in fields(LockEntry) if field.name != "name"}
    return LockEntry(**values, name=name)


def write_lock(path: Path, entries: Iterable[LockEntry]) -> None:
    """Write the lock file at once or not at all. Raises :class:`LockMismatch` when two entries pin the same key."""
    pins = sorted(set(entries))
    _check_unique(path, pins)
    text = json.dumps({"version": VERSION, "winners": [asdict(pin) for pin in pins]}, indent=2, sort_keys=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise LockMismatch(f"The lock file {path} cannot be written ({error.strerror}).") from error
    finally:
        partial.unlink(missing_ok=True)


def read_lock(path: Path) -> tuple[LockEntry, ...]:
    """The pins of a lock file. Raises :class:`LockMismatch` when it is no such file, :class:`ArchiveTooNew`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LockMismatch(f"The lock file {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise LockMismatch(f"The lock file {path} is not JSON ({error}): write it again with --lock.") from error
    version = content.get("version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise LockMismatch(f"The file {path} is not a kernelwright lock file: it names no version.")
    if version > VERSION:
        raise ArchiveTooNew(f"The lock file {path} has version {version}, newer than {VERSION}: upgrade kernelwright.")
    winners = content.get("winners")
    pins = tuple(_entry(path, item) for item in (winners if isinstance(winners, list) else []))
    _check_unique(path, pins)
    return pins


def merge_lock(path: Path, entries: Iterable[LockEntry]) -> None:
    """Add pins to the lock file, replacing those of the same key; create it where there is none."""
    pins = {pin.key: pin for pin in (read_lock(path) if path.exists() else ())}
    pins.update({pin.key: pin for pin in entries})
    write_lock(path, pins.values())


def find_entry(entries: Iterable[LockEntry], task: str, shape_class: str, dtype: str, target: str) -> LockEntry | None:
    """The pin of a key, None if it is not pinned."""
    return next((pin for pin in entries if pin.key == (task, shape_class, dtype, target)), None)


def pinned(archive: Archive, entry: LockEntry, *, machine: str, toolchain: str = "") -> WinnerRow:
    """The winner that ``entry`` pins, out of the archive, flagged when it was judged elsewhere or built otherwise.

    Raises :class:`LockMismatch` when the archive does not hold it or holds another text.
    """
    what = f"candidate {entry.candidate[:12]} for {entry.name or entry.task[:12]}"
    row = archive.candidate(entry.candidate)
    if row is None:
        raise LockMismatch(
            f"The lock file pins {what}, which the archive {archive.path} does not hold: generate again."
        )
    digest = hashlib.sha256(row.candidate.source.encode()).hexdigest()
    if digest != entry.source_digest:
        raise LockMismatch(
            f"The lock file pins {what} with source {entry.source_digest[:12]}, the archive holds {digest[:12]}: "
            "generate again with --lock."
        )
    if row.candidate.target != entry.target:
        raise LockMismatch(f"The lock file pins {what} for {entry.target}, but it is for {row.candidate.target}.")
    verdict = archive.verdict(entry.task, entry.candidate, machine, entry.shape_class)
    if verdict is not None and verdict.status != "accepted":
        raise LockMismatch(f"The lock file pins {what}, whose verdict on this machine is {verdict.status}.")
    # A verdict of this machine and toolchain is as good as having won here.
    here = verdict is not None and verdict.toolchain == toolchain
    why = "" if here else reverification(entry.machine, entry.toolchain, machine, toolchain)
    values = {name: value for name, value in asdict(entry).items() if name != "name"}
    winner = WinnerRow(**values, recorded=row.recorded)
    return replace(winner, needs_reverification=bool(why), why=why)


def _entry(path: Path, item: Any) -> LockEntry:
    known = {field.name for field in fields(LockEntry)}
    needed = known - {"machine", "toolchain", "name"}
    if not isinstance(item, dict) or not needed <= item.keys() or not all(isinstance(v, str) for v in item.values()):
        raise LockMismatch(f"The lock file {path} has an entry without {', '.join(sorted(needed))}: write it again.")
    return LockEntry(**{name: value for name, value in item.items() if name in known})


def _check_unique(path: Path, pins: Iterable[LockEntry]) -> None:
    twice = [key for key, count in Counter(pin.key for pin in pins).items() if count > 1]
    if twice:
        task, shape_class, dtype, target = twice[0]
        raise LockMismatch(
            f"The lock file {path} pins two winners for task {task[:12]} ({shape_class}, {dtype}, {target})."
        )
