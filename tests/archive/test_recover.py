"""A damaged file gives back every record that can be read, stays as evidence, and the user is told."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelwright.archive import Archive

from .conftest import MACHINE, make_candidate, make_task

Fill = Callable[[Archive, int], list[str]]
PAGE = 4096


@pytest.fixture
def filled(tmp_path: Path, fill: Fill) -> tuple[Path, list[str]]:
    """A closed archive of 200 judged candidates with a winner, and their digests."""
    with Archive(tmp_path / "archive.sqlite") as archive:
        digests = fill(archive, 200)
        archive.set_winner(make_task(0).digest, "", "float32", "cpu", MACHINE, digests[150])
    return tmp_path / "archive.sqlite", digests


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _pages_of(path: Path, table: str) -> list[int]:
    """Numbers (from 0) of the leaf pages that hold a table's rows, found by a text only that table's rows hold."""
    mark = {"candidates": b"// candidate ", "verdicts": b'"checks": '}[table]
    content = path.read_bytes()
    return [n for n in range(1, len(content) // PAGE) if mark in content[n * PAGE : (n + 1) * PAGE]]


def _recovered(path: Path) -> tuple[set[str], set[str], str]:
    with Archive(path) as archive:
        task = make_task(0).digest
        held = {row.digest for row in archive.candidates(task)}
        judged = {row.candidate for row in archive.verdicts(task)}
        (notice,) = archive.notices
        digest = archive.record_candidate(task, make_candidate(12345)) if archive.task(task) else ""
        assert not digest or archive.candidate(digest) is not None
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    return held, judged, notice


def _asides(path: Path) -> list[Path]:
    return sorted(path.parent.glob("archive.corrupt-*.sqlite"))


def test_a_damaged_file_of_the_first_version_is_recovered_too(filled: tuple[Path, list[str]]) -> None:
    path, digests = filled
    connection = sqlite3.connect(path, isolation_level=None)
    for table in ("proofs", "searches"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    _overwrite(path, _pages_of(path, "candidates")[10] * PAGE, b"\xff" * PAGE)
    held, judged, _ = _recovered(path)
    assert judged == held < set(digests)
    assert len(held) > 190


def test_a_damaged_page_costs_only_its_own_rows(
    filled: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    path, digests = filled
    _overwrite(path, _pages_of(path, "candidates")[10] * PAGE, b"\xff" * PAGE)
    damaged = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        held, judged, notice = _recovered(path)
    assert held < set(digests)
    assert len(held) > 190
    assert judged == held
    (aside,) = _asides(path)
    assert aside.read_bytes() == damaged
    assert aside.name in notice
    assert "was damaged" in notice
    assert [record.message for record in caplog.records] == [notice]
    with Archive(path) as archive:
        winner = archive.winner(make_task(0).digest, "", "float32", "cpu", MACHINE)
        assert winner is not None
        assert winner.candidate == digests[150]
        assert archive.notices == ()


def test_the_last_page_may_be_the_damaged_one(filled: tuple[Path, list[str]]) -> None:
    path, digests = filled
    _overwrite(path, _pages_of(path, "candidates")[-1] * PAGE, b"\xff" * PAGE)
    held, _, _ = _recovered(path)
    assert len(held) > 190
    assert held <= set(digests)


def test_a_lost_header_costs_nothing(filled: tuple[Path, list[str]]) -> None:
    path, digests = filled
    _overwrite(path, 0, b"\0" * 512)
    held, judged, _ = _recovered(path)
    assert held == set(digests)
    assert judged == set(digests)


def test_a_truncated_file_gives_what_is_left(filled: tuple[Path, list[str]]) -> None:
    path, digests = filled
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size * 2 // 3 // PAGE * PAGE)
    held, _, _ = _recovered(path)
    assert len(held) > 50
    assert held <= set(digests)


def test_garbage_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    path.write_bytes(b"not a database at all " * 1000)
    held, _, notice = _recovered(path)
    assert held == set()
    assert "0 of its records" in notice
    assert len(_asides(path)) == 1


def test_a_flipped_bit_in_a_source_is_noticed(filled: tuple[Path, list[str]]) -> None:
    path, digests = filled
    content = path.read_bytes()
    _overwrite(path, content.index(b"// candidate 77\n") + 3, b"C")
    with Archive(path) as archive:
        held = {row.digest for row in archive.candidates(make_task(0).digest)}
        assert len(archive.notices) == 1
    assert held == set(digests) - {digests[77]}


def test_damage_met_while_recording_does_not_lose_the_record(tmp_path: Path, fill: Fill) -> None:
    path = tmp_path / "archive.sqlite"
    with Archive(path) as archive:
        fill(archive, 200)
    archive = Archive(path)  # opens fine: the damage lies deeper
    for page in _pages_of(path, "verdicts"):
        _overwrite(path, page * PAGE, b"\xff" * PAGE)
    task = make_task(0).digest
    digest = archive.record_candidate(task, make_candidate(500))
    archive.record_verdict(task, digest, MACHINE, {"status": "accepted"})
    assert len(archive.notices) == 1
    assert len(archive.candidates(task)) == 201
    row = archive.verdict(task, digest, MACHINE)
    assert row is not None
    assert row.status == "accepted"


def test_a_second_process_goes_on_in_the_recovered_file(filled: tuple[Path, list[str]]) -> None:
    path, _ = filled
    other = Archive(path)
    assert other.task(make_task(0).digest) is not None  # it has the file open while we replace it
    _overwrite(path, _pages_of(path, "candidates")[10] * PAGE, b"\xff" * PAGE)
    held, _, _ = _recovered(path)
    digest = other.record_candidate(make_task(0).digest, make_candidate(600))
    assert other.notices == ()
    with Archive(path) as archive:
        assert archive.candidate(digest) is not None
        assert len(archive.candidates(make_task(0).digest)) == len(held) + 2
    assert len(_asides(path)) == 1


def test_damage_twice_a_day_keeps_both_files(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "archive.sqlite").write_bytes(b"garbage" * 1000)
        Archive(tmp_path / "archive.sqlite").close()
    assert len(_asides(tmp_path / "archive.sqlite")) == 2
