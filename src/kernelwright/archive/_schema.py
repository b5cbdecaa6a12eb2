"""The archive's tables, as numbered migrations: a file of any older version is brought up to date when opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = 0x6B776172  # "kwar": tells our file from any other SQLite database

# One tuple of statements per migration. Never edit one that was released: append the next.
# Rows of ``verdicts`` and ``measurements`` are never overwritten: the newest of a key counts, the others are history.
# ``checksum`` is ours, because SQLite notices a damaged page but not a flipped bit inside a text.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE tasks (
            digest TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, dtype TEXT NOT NULL,
            content TEXT NOT NULL, payload BLOB NOT NULL, checksum TEXT NOT NULL, recorded REAL NOT NULL)""",
        """CREATE TABLE candidates (
            digest TEXT NOT NULL PRIMARY KEY, target TEXT NOT NULL, source TEXT NOT NULL, plan TEXT,
            checksum TEXT NOT NULL, recorded REAL NOT NULL)""",
        """CREATE TABLE machines (
            fingerprint TEXT NOT NULL PRIMARY KEY, description TEXT NOT NULL, recorded REAL NOT NULL)""",
        # The same text may be proposed for many tasks (eager always is), under another label and by another proposer.
        """CREATE TABLE proposals (
            task TEXT NOT NULL REFERENCES tasks(digest), candidate TEXT NOT NULL REFERENCES candidates(digest),
            proposer TEXT NOT NULL, label TEXT NOT NULL, schedule TEXT NOT NULL, notes TEXT NOT NULL,
            recorded REAL NOT NULL, PRIMARY KEY (task, candidate))""",
        """CREATE TABLE verdicts (
            id INTEGER PRIMARY KEY, task TEXT NOT NULL, candidate TEXT NOT NULL, shape_class TEXT NOT NULL,
            machine TEXT NOT NULL REFERENCES machines(fingerprint), toolchain TEXT NOT NULL, status TEXT NOT NULL,
            content TEXT NOT NULL, recorded REAL NOT NULL,
            FOREIGN KEY (task, candidate) REFERENCES proposals(task, candidate))""",
        """CREATE TABLE measurements (
            id INTEGER PRIMARY KEY, task TEXT NOT NULL, candidate TEXT NOT NULL, shape_class TEXT NOT NULL,
            machine TEXT NOT NULL REFERENCES machines(fingerprint), toolchain TEXT NOT NULL,
            content TEXT NOT NULL, recorded REAL NOT NULL,
            FOREIGN KEY (task, candidate) REFERENCES proposals(task, candidate))""",
        """CREATE TABLE winners (
            task TEXT NOT NULL, shape_class TEXT NOT NULL, dtype TEXT NOT NULL, target TEXT NOT NULL,
            machine TEXT NOT NULL REFERENCES machines(fingerprint), candidate TEXT NOT NULL,
            source_digest TEXT NOT NULL, toolchain TEXT NOT NULL, recorded REAL NOT NULL,
            PRIMARY KEY (task, shape_class, dtype, target, machine),
            FOREIGN KEY (task, candidate) REFERENCES proposals(task, candidate))""",
        "CREATE INDEX proposals_by_candidate ON proposals (candidate)",
        "CREATE INDEX verdicts_by_key ON verdicts (task, candidate, machine, shape_class)",
        "CREATE INDEX measurements_by_key ON measurements (task, candidate, machine, shape_class)",
        "CREATE INDEX winners_by_candidate ON winners (task, candidate)",
    ),
    (
        # How the winner was found: what a report of the search shows, and what decides whether to search again.
        """CREATE TABLE searches (
            task TEXT NOT NULL REFERENCES tasks(digest), shape_class TEXT NOT NULL, dtype TEXT NOT NULL,
            target TEXT NOT NULL, machine TEXT NOT NULL REFERENCES machines(fingerprint),
            content TEXT NOT NULL, recorded REAL NOT NULL,
            PRIMARY KEY (task, shape_class, dtype, target, machine))""",
    ),
    (
        # What is proved of a source and its plan, on every machine alike; by which version of the prover.
        """CREATE TABLE proofs (
            candidate TEXT NOT NULL PRIMARY KEY REFERENCES candidates(digest), maker TEXT NOT NULL,
            content TEXT NOT NULL, recorded REAL NOT NULL)""",
    ),
)

# Parents before children, so that rows can be copied in this order.
TABLES = ("tasks", "candidates", "machines", "proposals", "verdicts", "measurements", "winners", "searches", "proofs")


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations the file has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether the file is somebody else's database: it has tables, but not our application id."""
    if int(connection.execute("PRAGMA application_id").fetchone()[0]) == APPLICATION_ID:
        return False
    return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Apply the migrations that the file has not seen, all of them or none."""
    if version_of(connection) >= len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in migrations[version_of(connection) :]:  # asked again: another process may have been first
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
