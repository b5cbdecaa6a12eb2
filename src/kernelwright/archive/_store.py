"""The archive: everything ever judged. What was recorded is found again, by this process or any other.

>>> with Archive(tmp / "archive.sqlite") as archive:       # doctest: +SKIP
...     archive.record_task(task)
...     archive.record_candidate(task.digest, candidate)
...     archive.record_verdict(task.digest, candidate.digest, machine, asdict(verdict))
...     archive.set_winner(task.digest, "any", "float32", "cpu", machine, candidate.digest)
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kernelwright.archive import _export, _gc, _rows
from kernelwright.archive._database import open_database
from kernelwright.archive._recover import checksum
from kernelwright.errors import ArchiveError
from kernelwright.paths import data_dir

if TYPE_CHECKING:
    from kernelwright.targets.plan import Candidate
    from kernelwright.task import Task


class Archive:
    """The archive at ``path`` (default: in ``paths.data_dir()``), safe across threads, processes and kills.

    Where the folder cannot be written, a temporary copy serves this run and a warning says so; with
    ``fallback=False`` :class:`CacheUnusable` is raised instead. Sentences about that, and about a damaged file that
    was recovered, are logged and kept in ``notices``. Other errors: :class:`ArchiveTooNew`, :class:`ArchiveFull`,
    :class:`ArchiveBusy`, :class:`ArchiveError`.

    Each record is one transaction and idempotent. ``machine`` is always a fingerprint.
    """

    def __init__(
        self, path: Path | None = None, *, fallback: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = open_database(Path(path) if path else data_dir() / "archive.sqlite", fallback)
        self._clock = clock

    @property
    def path(self) -> Path:
        """The file in use; a temporary one after a fallback."""
        return self._database.path

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user was told so far, one sentence each."""
        return tuple(self._database.notices)

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._database.discard()

    # ── recording ────────────────────────────────────────────────────────────────────────────────────────────────

    def record_task(self, task: Task) -> str:
        """Remember a task; return its digest."""
        content, payload = _rows.task_values(task)
        values = (task.digest, task.name, task.kind, task.dtype, content, payload, checksum(content, payload))
        self._write("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values, self._clock())
        return task.digest

    def record_machine(self, fingerprint: str, description: Mapping[str, object]) -> None:
        """Remember what a machine is; verdicts of a machine that was not described yet are accepted too."""
        self._write(
            "INSERT INTO machines VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET description = excluded.description",
            *(fingerprint, _rows.dump(description), self._clock()),
        )

    def record_candidate(self, task: str, candidate: Candidate) -> str:
        """Remember that a candidate was proposed for the task with this digest; return the candidate's digest."""
        from kernelwright.targets.plan import plan_to_json

        digest, plan = candidate.digest, plan_to_json(candidate.plan) if candidate.plan else None
        text = (digest, candidate.target, candidate.source, plan, checksum(candidate.source, plan or ""))
        origin = (candidate.proposer, candidate.label, candidate.schedule, _rows.dump(candidate.notes))

        def work(connection: sqlite3.Connection) -> None:
            _require(connection, "task", task)
            now = self._clock()
            connection.execute("INSERT OR IGNORE INTO candidates VALUES (?, ?, ?, ?, ?, ?)", (*text, now))
            connection.execute(
                "INSERT OR IGNORE INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?)", (task, digest, *origin, now)
            )

        self._database.write(work)
        return digest

    def record_verdict(
        self,
        task: str,
        candidate: str,
        machine: str,
        verdict: Mapping[str, object],
        *,
        shape_class: str = "",
        toolchain: str = "",
    ) -> None:
        """Remember what the judge said; ``verdict`` is JSON data with at least ``status``."""
        if not isinstance(verdict.get("status"), str):
            raise ArchiveError(f"A verdict needs a status, got the keys {sorted(verdict)}.")
        columns = {"status": str(verdict["status"]), "content": _rows.dump(verdict)}
        self._append("verdicts", task, candidate, machine, shape_class, toolchain, columns)

    def record_measurement(
        self,
        task: str,
        candidate: str,
        machine: str,
        measurement: Mapping[str, object],
        *,
        shape_class: str = "",
        toolchain: str = "",
    ) -> None:
        """Remember times; ``measurement`` is JSON data."""
        columns = {"content": _rows.dump(measurement)}
        self._append("measurements", task, candidate, machine, shape_class, toolchain, columns)

    def set_winner(
        self,
        task: str,
        shape_class: str,
        dtype: str,
        target: str,
        machine: str,
        candidate: str,
        *,
        toolchain: str = "",
        search: Mapping[str, object] | None = None,
    ) -> None:
        """Make a recorded candidate the one to serve; refused when the newest verdict on this machine rejects it.

        ``search``, JSON data, says how it was found; it takes the place of the one before.
        """

        def work(connection: sqlite3.Connection) -> None:
            _require(connection, "task", task)
            source = _require(connection, "candidate", candidate)["source"]
            _require_proposal(connection, task, candidate)
            newest = _newest(connection, "verdicts", task, candidate, machine, shape_class)
            if newest and newest["status"] != "accepted":
                raise ArchiveError(f"Candidate {candidate[:12]} cannot win: its verdict here is {newest['status']}.")
            _ensure_machine(connection, machine, self._clock())
            key = (task, shape_class, dtype, target, machine)
            value = (candidate, hashlib.sha256(source.encode()).hexdigest(), toolchain)
            known = connection.execute(
                f"SELECT candidate, source_digest, toolchain FROM winners {_KEY}", key
            ).fetchone()
            if known is None or tuple(known) != value:
                connection.execute(
                    "INSERT OR REPLACE INTO winners VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, *value, self._clock())
                )
            if search is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO searches VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*key, _rows.dump(search), self._clock()),
                )

        self._database.write(work)

    def record_proof(self, candidate: str, maker: str, indices: Mapping[str, object]) -> None:
        """Remember what is proved of a recorded candidate's indices, and who proved it; it replaces what was known."""

        def work(connection: sqlite3.Connection) -> None:
            _require(connection, "candidate", candidate)
            row = (candidate, maker, _rows.dump(indices), self._clock())
            connection.execute("INSERT OR REPLACE INTO proofs VALUES (?, ?, ?, ?)", row)

        self._database.write(work)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def tasks(self) -> tuple[_rows.TaskRow, ...]:
        """Every task, newest first."""
        rows = self._read(
            "SELECT digest, name, kind, dtype, recorded,"
            " (SELECT count(*) FROM proposals WHERE task = digest) AS candidates,"
            " (SELECT count(*) FROM winners WHERE task = digest) AS winners"
            " FROM tasks ORDER BY recorded DESC, digest"
        )
        return tuple(_rows.TaskRow(**dict(row)) for row in rows)

    def task(self, digest: str) -> Task | None:
        """The task as it was recorded."""
        rows = self._read("SELECT * FROM tasks WHERE digest = ?", digest, convert=_rows.task_from)
        return rows[0] if rows else None

    def machine(self, fingerprint: str) -> dict[str, Any] | None:
        """The description of a machine, None if it is unknown."""
        rows = self._read("SELECT description AS content FROM machines WHERE fingerprint = ?", fingerprint)
        return _rows.load(rows[0]["content"]) if rows else None

    def candidates(self, task: str) -> tuple[_rows.CandidateRow, ...]:
        """Every candidate proposed for a task, in the order of recording."""
        return tuple(self._read(f"{_CANDIDATES} WHERE task = ? {_IN_ORDER}", task, convert=_rows.candidate_from))

    def candidate(self, digest: str) -> _rows.CandidateRow | None:
        """A candidate by its digest, as it was first proposed."""
        query = f"{_CANDIDATES} WHERE digest = ? {_IN_ORDER} LIMIT 1"
        rows = self._read(query, digest, convert=_rows.candidate_from)
        return rows[0] if rows else None

    def verdict(self, task: str, candidate: str, machine: str, shape_class: str = "") -> _rows.VerdictRow | None:
        """The newest verdict of a candidate on a machine."""
        row = self._database.read(lambda c: _newest(c, "verdicts", task, candidate, machine, shape_class))
        return _rows.verdict_from(row) if row else None

    def verdicts(self, task: str) -> tuple[_rows.VerdictRow, ...]:
        """Every verdict of a task's candidates, oldest first."""
        return tuple(self._read("SELECT * FROM verdicts WHERE task = ? ORDER BY id", task, convert=_rows.verdict_from))

    def measurement(
        self, task: str, candidate: str, machine: str, shape_class: str = ""
    ) -> _rows.MeasurementRow | None:
        """The newest measurement of a candidate on a machine."""
        row = self._database.read(lambda c: _newest(c, "measurements", task, candidate, machine, shape_class))
        return _rows.measurement_from(row) if row else None

    def measurements(self, task: str) -> tuple[_rows.MeasurementRow, ...]:
        """Every measurement of a task's candidates, oldest first."""
        query = "SELECT * FROM measurements WHERE task = ? ORDER BY id"
        return tuple(self._read(query, task, convert=_rows.measurement_from))

    def winner(
        self, task: str, shape_class: str, dtype: str, target: str, machine: str, *, toolchain: str = ""
    ) -> _rows.WinnerRow | None:
        """The winner on this machine; failing that the newest of another machine, flagged for re-verification."""
        rows = self._read(
            "SELECT * FROM winners WHERE task = ? AND shape_class = ? AND dtype = ? AND target = ?"
            " ORDER BY machine = ? DESC, recorded DESC, machine LIMIT 1",
            *(task, shape_class, dtype, target, machine),
        )
        return _rows.winner_from(rows[0], machine, toolchain) if rows else None

    def winners(self, task: str | None = None) -> tuple[_rows.WinnerRow, ...]:
        """Every winner (of one task), as it was judged: nothing is flagged."""
        where, values = ("WHERE task = ?", (task,)) if task else ("", ())
        query = f"SELECT * FROM winners {where} ORDER BY task, shape_class, dtype, target, machine"
        return tuple(_rows.winner_from(row, row["machine"], row["toolchain"]) for row in self._read(query, *values))

    def proof(self, candidate: str, maker: str | None = None) -> dict[str, Any] | None:
        """What is proved of a candidate's indices (by ``maker``, if that is given); None where nothing is recorded."""
        rows = self._read("SELECT content, maker FROM proofs WHERE candidate = ?", candidate)
        return _rows.load(rows[0]["content"]) if rows and maker in (None, rows[0]["maker"]) else None

    def search(self, task: str, shape_class: str, dtype: str, target: str, machine: str) -> dict[str, Any] | None:
        """How the winner of this machine was found, as it was given to :meth:`set_winner`."""
        rows = self._read(f"SELECT content FROM searches {_KEY}", *(task, shape_class, dtype, target, machine))
        return _rows.load(rows[0]["content"]) if rows else None

    def find(self, prefix: str) -> tuple[_rows.Found, ...]:
        """Tasks and candidates whose digest begins with ``prefix`` (hex digits, any case)."""
        low = prefix.lower()
        if not low or low.strip("0123456789abcdef"):
            raise ArchiveError(f"The digest prefix {prefix!r} is not one: give its first hexadecimal digits.")
        rows = self._read(
            "SELECT 'task' AS kind, digest, name FROM tasks WHERE digest BETWEEN ?1 AND ?1 || 'g' UNION ALL"
            " SELECT DISTINCT 'candidate', digest, (SELECT label FROM proposals WHERE candidate = digest LIMIT 1)"
            " FROM candidates WHERE digest BETWEEN ?1 AND ?1 || 'g' ORDER BY 1 DESC, 2",
            low,
        )
        return tuple(_rows.Found(**dict(row)) for row in rows)

    # ── keeping house ────────────────────────────────────────────────────────────────────────────────────────────

    def export(self, digest: str, folder: Path) -> tuple[Path, ...]:
        """Write a candidate, or a task with its winners, as files a person can read; return what was written.

        Of a candidate: its source, ``plan.json``, ``candidate.json``, ``verdicts.json`` and ``measurements.json``
        (newest first). Of a task: its text, and such a folder for each winner, or for every candidate if none won.
        """
        return _export.export(self, digest, Path(folder))

    def gc(self, keep_days: float = 30.0, keep_winners: bool = True) -> _rows.Freed:
        """Forget what was recorded more than ``keep_days`` ago; winners stay unless told otherwise."""
        before = self._database.size()
        oldest = self._clock() - keep_days * 86400.0
        freed = self._database.write(lambda connection: _gc.collect(connection, oldest, keep_winners))
        self._database.vacuum()
        return replace(freed, bytes=max(before - self._database.size(), 0))

    def _write(self, statement: str, *values: object) -> None:
        self._database.write(lambda connection: connection.execute(statement, values))

    def _read(self, query: str, *values: object, convert: Callable[[sqlite3.Row], Any] = lambda row: row) -> list[Any]:
        # Converted inside the transaction, so that a text that fails its checksum leads to recovery like other damage.
        return self._database.read(lambda connection: [convert(row) for row in connection.execute(query, values)])

    def _append(
        self,
        table: str,
        task: str,
        candidate: str,
        machine: str,
        shape_class: str,
        toolchain: str,
        columns: Mapping[str, str],
    ) -> None:
        """Add a row to a history unless it repeats the newest one of its key."""

        def work(connection: sqlite3.Connection) -> None:
            _require_proposal(connection, task, candidate)
            newest = _newest(connection, table, task, candidate, machine, shape_class)
            new = {"toolchain": toolchain, **columns}
            if newest and all(newest[name] == value for name, value in new.items()):
                return
            now = self._clock()
            _ensure_machine(connection, machine, now)
            key = {"task": task, "candidate": candidate, "machine": machine, "shape_class": shape_class}
            row = {**key, **new, "recorded": now}
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))

        self._database.write(work)


_KEY = "WHERE task = ? AND shape_class = ? AND dtype = ? AND target = ? AND machine = ?"
_CANDIDATES = (
    "SELECT digest, target, source, plan, checksum, task, proposer, label, schedule, notes, proposals.recorded AS"
    " recorded FROM proposals JOIN candidates ON candidate = digest"
)
_IN_ORDER = "ORDER BY proposals.rowid"


def _newest(
    connection: sqlite3.Connection, table: str, task: str, candidate: str, machine: str, shape_class: str
) -> sqlite3.Row | None:
    query = f"SELECT * FROM {table} WHERE task = ? AND candidate = ? AND machine = ? AND shape_class = ?"
    row: sqlite3.Row | None = connection.execute(
        f"{query} ORDER BY id DESC LIMIT 1", (task, candidate, machine, shape_class)
    ).fetchone()
    return row


def _ensure_machine(connection: sqlite3.Connection, fingerprint: str, now: float) -> None:
    connection.execute("INSERT OR IGNORE INTO machines VALUES (?, '{}', ?)", (fingerprint, now))


def _require(connection: sqlite3.Connection, kind: str, digest: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(f"SELECT * FROM {kind}s WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        raise ArchiveError(f"The archive holds no {kind} {digest[:12] or '(empty digest)'}: record it first.")
    return row


def _require_proposal(connection: sqlite3.Connection, task: str, candidate: str) -> None:
    query = "SELECT 1 FROM proposals WHERE task = ? AND candidate = ?"
    if connection.execute(query, (task, candidate)).fetchone() is None:
        raise ArchiveError(f"Candidate {candidate[:12]} was not recorded for task {task[:12]}: record it first.")
