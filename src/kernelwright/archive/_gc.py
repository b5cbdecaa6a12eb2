"""What the archive may forget: whatever is old and nobody is served by."""

from __future__ import annotations

import sqlite3

from kernelwright.archive._rows import Freed

# In this order, so that nothing is removed while something refers to it. ?1 is the oldest time that is kept.
_WINNERS = "DELETE FROM winners WHERE recorded < ?1"
_SEARCHES = """
    DELETE FROM searches WHERE NOT EXISTS (
        SELECT 1 FROM winners WHERE (task, shape_class, dtype, target, machine)
          = (searches.task, searches.shape_class, searches.dtype, searches.target, searches.machine))"""
_OLD = """
    SELECT proposals.rowid FROM proposals WHERE recorded < ?1
    AND NOT EXISTS (SELECT 1 FROM winners WHERE task = proposals.task AND candidate = proposals.candidate)"""
_HISTORY = """
    DELETE FROM {table} WHERE recorded < ?1 AND (
        EXISTS (SELECT 1 FROM {table} AS later WHERE later.id > {table}.id
            AND (later.task, later.candidate, later.machine, later.shape_class)
              = ({table}.task, {table}.candidate, {table}.machine, {table}.shape_class))
        OR NOT EXISTS (SELECT 1 FROM winners WHERE task = {table}.task AND candidate = {table}.candidate))"""
_PROPOSALS = f"""
    DELETE FROM proposals WHERE rowid IN ({_OLD})
    AND NOT EXISTS (SELECT 1 FROM verdicts WHERE task = proposals.task AND candidate = proposals.candidate)
    AND NOT EXISTS (SELECT 1 FROM measurements WHERE task = proposals.task AND candidate = proposals.candidate)"""
_PROOFS = "DELETE FROM proofs WHERE candidate NOT IN (SELECT candidate FROM proposals)"
_CANDIDATES = "DELETE FROM candidates WHERE digest NOT IN (SELECT candidate FROM proposals)"
_TASKS = "DELETE FROM tasks WHERE recorded < ?1 AND digest NOT IN (SELECT task FROM proposals)"
_MACHINES = """
    DELETE FROM machines WHERE recorded < ?1 AND fingerprint NOT IN (
        SELECT machine FROM verdicts UNION SELECT machine FROM measurements UNION SELECT machine FROM winners)"""


def collect(connection: sqlite3.Connection, oldest: float, keep_winners: bool) -> Freed:
    """Delete what was recorded before ``oldest``; of a winner its newest verdict and measurement stay with it."""

    def run(statement: str) -> int:
        values = (oldest,) if "?1" in statement else ()
        return connection.execute(statement, values).rowcount

    winners = 0 if keep_winners else run(_WINNERS)
    run(_SEARCHES)
    verdicts = run(_HISTORY.format(table="verdicts"))
    measurements = run(_HISTORY.format(table="measurements"))
    run(_PROPOSALS)
    run(_PROOFS)
    candidates = run(_CANDIDATES)
    tasks = run(_TASKS)
    return Freed(tasks, candidates, verdicts, measurements, winners, run(_MACHINES))
