"""The lock file pins winners by digest, reads well in a diff, and what it pins is checked against the archive."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kernelwright.archive import (
    Archive,
    LockEntry,
    entry_of,
    find_entry,
    merge_lock,
    pinned,
    read_lock,
    write_lock,
)
from kernelwright.errors import ArchiveTooNew, LockMismatch
from kernelwright.targets.plan import Candidate
from kernelwright.task import Task

from .conftest import ACCEPTED, MACHINE, OTHER_MACHINE, REJECTED


@pytest.fixture
def entry(archive: Archive, task: Task, candidate: Candidate) -> LockEntry:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    archive.record_verdict(task.digest, digest, MACHINE, ACCEPTED, shape_class="any", toolchain="g++ 12")
    archive.set_winner(task.digest, "any", "float32", "cpu", MACHINE, digest, toolchain="g++ 12")
    return entry_of(archive.winners()[0], task.name)


def _entries(count: int) -> list[LockEntry]:
    return [LockEntry(f"{n:064x}", "any", "float32", "cpu", "c" * 64, "d" * 64, name=f"task {n}") for n in range(count)]


def test_the_lock_comes_back_sorted_whatever_the_order(tmp_path: Path) -> None:
    entries = _entries(5)
    write_lock(tmp_path / "a.lock", entries)
    write_lock(tmp_path / "b.lock", reversed([*entries, entries[0]]))
    assert (tmp_path / "a.lock").read_bytes() == (tmp_path / "b.lock").read_bytes()
    assert read_lock(tmp_path / "a.lock") == tuple(entries)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.lock", "b.lock"]


def test_one_changed_pin_is_one_changed_line(tmp_path: Path) -> None:
    entries = _entries(3)
    write_lock(tmp_path / "a.lock", entries)
    write_lock(tmp_path / "b.lock", [entries[0], replace(entries[1], candidate="e" * 64), entries[2]])
    a, b = ((tmp_path / name).read_text().splitlines() for name in ("a.lock", "b.lock"))
    assert len(a) == len(b)
    assert [(x.split()[0], y.split()[0]) for x, y in zip(a, b, strict=True) if x != y] == [('"candidate":',) * 2]


def test_merge_replaces_the_same_key_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "kernelwright.lock"
    first, second = _entries(2)
    merge_lock(path, [first, second])
    better = replace(second, candidate="e" * 64)
    merge_lock(path, [better])
    assert read_lock(path) == (first, better)
    assert find_entry(read_lock(path), second.task, "any", "float32", "cpu") == better
    assert find_entry(read_lock(path), second.task, "small", "float32", "cpu") is None


def test_two_pins_of_one_key_are_refused(tmp_path: Path) -> None:
    first = _entries(1)[0]
    with pytest.raises(LockMismatch, match="pins two winners"):
        write_lock(tmp_path / "kernelwright.lock", [first, replace(first, candidate="e" * 64)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "names no version"),
        ('{"winners": []}', "names no version"),
        ('{"version": 1, "winners": [{"task": "ab"}]}', "has an entry without"),
        ('{"version": 1, "winners": [3]}', "has an entry without"),
    ],
)
def test_a_broken_lock_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "kernelwright.lock").write_text(text)
    with pytest.raises(LockMismatch, match=said) as caught:
        read_lock(tmp_path / "kernelwright.lock")
    assert "\n" not in str(caught.value)


def test_a_missing_and_a_newer_lock_file(tmp_path: Path) -> None:
    with pytest.raises(LockMismatch, match="cannot be read"):
        read_lock(tmp_path / "kernelwright.lock")
    (tmp_path / "kernelwright.lock").write_text(json.dumps({"version": 2, "winners": []}))
    with pytest.raises(ArchiveTooNew, match="upgrade kernelwright"):
        read_lock(tmp_path / "kernelwright.lock")


def test_a_pin_is_served_from_the_archive(archive: Archive, entry: LockEntry, tmp_path: Path) -> None:
    write_lock(tmp_path / "kernelwright.lock", [entry])
    (pin,) = read_lock(tmp_path / "kernelwright.lock")
    winner = pinned(archive, pin, machine=MACHINE, toolchain="g++ 12")
    assert (winner.candidate, winner.needs_reverification) == (entry.candidate, False)


def test_a_pin_stays_when_another_candidate_wins(archive: Archive, entry: LockEntry, candidate: Candidate) -> None:
    faster = archive.record_candidate(entry.task, replace(candidate, source="// faster\n"))
    archive.set_winner(entry.task, "any", "float32", "cpu", MACHINE, faster, toolchain="g++ 12")
    assert pinned(archive, entry, machine=MACHINE, toolchain="g++ 12").candidate == entry.candidate


def test_a_pin_from_elsewhere_is_judged_again_once(archive: Archive, entry: LockEntry) -> None:
    winner = pinned(archive, entry, machine=OTHER_MACHINE, toolchain="g++ 12")
    assert winner.needs_reverification
    assert "another machine" in winner.why
    assert "toolchain" in pinned(archive, entry, machine=MACHINE, toolchain="clang 19").why
    key = (entry.task, entry.candidate, OTHER_MACHINE)
    archive.record_verdict(*key, ACCEPTED, shape_class="any", toolchain="g++ 12")
    assert not pinned(archive, entry, machine=OTHER_MACHINE, toolchain="g++ 12").needs_reverification
    archive.record_verdict(*key, REJECTED, shape_class="any", toolchain="g++ 12")
    with pytest.raises(LockMismatch, match="verdict on this machine is rejected"):
        pinned(archive, entry, machine=OTHER_MACHINE, toolchain="g++ 12")


def test_a_pin_that_the_archive_does_not_hold(archive: Archive, entry: LockEntry) -> None:
    with pytest.raises(LockMismatch, match="does not hold"):
        pinned(archive, replace(entry, candidate="0" * 64), machine=MACHINE)
    with pytest.raises(LockMismatch, match="with source"):
        pinned(archive, replace(entry, source_digest="0" * 64), machine=MACHINE)
    with pytest.raises(LockMismatch, match="for triton"):
        pinned(archive, replace(entry, target="triton"), machine=MACHINE)
