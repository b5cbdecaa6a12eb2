"""What is recorded is found again, once, exactly as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernelwright.archive import Archive
from kernelwright.errors import ArchiveError
from kernelwright.targets.plan import Candidate, one_file
from kernelwright.task import Task

from .conftest import ACCEPTED, MACHINE, OTHER_MACHINE, REJECTED, Clock, make_candidate, make_task


def test_a_task_comes_back_as_it_was(archive: Archive, task: Task) -> None:
    assert archive.record_task(task) == task.digest
    assert archive.task(task.digest) == task
    assert archive.task("0" * 64) is None


def test_a_candidate_comes_back_as_it_was(archive: Archive, task: Task, candidate: Candidate) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    (row,) = archive.candidates(task.digest)
    assert (row.digest, row.task, row.candidate) == (digest, task.digest, candidate)
    assert row.candidate.digest == digest


def test_a_baseline_without_plan_serves_many_tasks(archive: Archive) -> None:
    eager = Candidate("eager", "baseline", "", None, label="eager")
    for number in range(3):
        task = archive.record_task(make_task(number))
        archive.record_candidate(task, eager)
        assert archive.candidates(task)[0].candidate == eager


def test_recording_twice_is_recording_once(archive: Archive, task: Task, candidate: Candidate) -> None:
    for _ in range(2):
        archive.record_task(task)
        archive.record_machine(MACHINE, {"cores": 2})
        digest = archive.record_candidate(task.digest, candidate)
        archive.record_verdict(task.digest, digest, MACHINE, ACCEPTED)
        archive.record_measurement(task.digest, digest, MACHINE, {"seconds": 0.5})
        archive.set_winner(task.digest, "any", "float32", "cpu", MACHINE, digest)
    counts = [len(archive.candidates(task.digest)), len(archive.verdicts(task.digest))]
    assert [*counts, len(archive.measurements(task.digest)), len(archive.winners())] == [1, 1, 1, 1]
    assert archive.tasks()[0].candidates == 1
    assert archive.machine(MACHINE) == {"cores": 2}


def test_the_newest_verdict_counts_and_the_older_stay(archive: Archive, task: Task, candidate: Candidate) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    for verdict in (ACCEPTED, REJECTED, ACCEPTED):  # the third equals the first, and must still become the newest
        archive.record_verdict(task.digest, digest, MACHINE, verdict)
    newest = archive.verdict(task.digest, digest, MACHINE)
    assert newest is not None
    assert newest.content == ACCEPTED
    assert [row.status for row in archive.verdicts(task.digest)] == ["accepted", "rejected", "accepted"]


def test_verdicts_and_measurements_are_kept_apart_by_machine_and_shape(
    archive: Archive, task: Task, candidate: Candidate
) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    archive.record_verdict(task.digest, digest, MACHINE, ACCEPTED, shape_class="small")
    archive.record_measurement(task.digest, digest, MACHINE, {"seconds": 0.5}, shape_class="small")
    assert archive.verdict(task.digest, digest, OTHER_MACHINE, "small") is None
    assert archive.verdict(task.digest, digest, MACHINE, "large") is None
    assert archive.measurement(task.digest, digest, MACHINE, "large") is None
    row = archive.measurement(task.digest, digest, MACHINE, "small")
    assert row is not None
    assert row.content == {"seconds": 0.5}


def test_a_verdict_may_hold_an_infinite_error(archive: Archive, task: Task, candidate: Candidate) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    archive.record_verdict(task.digest, digest, MACHINE, {**REJECTED, "error": float("inf")})
    row = archive.verdict(task.digest, digest, MACHINE)
    assert row is not None
    assert row.content["error"] == float("inf")


def test_a_winner_is_replaced_by_a_better_one(archive: Archive, task: Task) -> None:
    archive.record_task(task)
    for number in range(2):
        digest = archive.record_candidate(task.digest, make_candidate(number))
        archive.set_winner(task.digest, "any", "float32", "cpu", MACHINE, digest, toolchain="g++ 12")
    winner = archive.winner(task.digest, "any", "float32", "cpu", MACHINE, toolchain="g++ 12")
    assert winner is not None
    assert (winner.candidate, winner.needs_reverification) == (digest, False)
    assert archive.winner(task.digest, "any", "bfloat16", "cpu", MACHINE) is None


@pytest.mark.parametrize(
    ("machine", "toolchain", "said"), [(OTHER_MACHINE, "g++ 12", "machine"), (MACHINE, "clang 19", "toolchain")]
)
def test_a_winner_from_elsewhere_must_be_judged_again(
    archive: Archive, task: Task, candidate: Candidate, machine: str, toolchain: str, said: str
) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    archive.set_winner(task.digest, "any", "float32", "cpu", MACHINE, digest, toolchain="g++ 12")
    winner = archive.winner(task.digest, "any", "float32", "cpu", machine, toolchain=toolchain)
    assert winner is not None
    assert winner.needs_reverification
    assert said in winner.why


def test_this_machines_winner_is_preferred_to_a_newer_one_from_elsewhere(
    archive: Archive, task: Task, clock: Clock
) -> None:
    archive.record_task(task)
    digests = [archive.record_candidate(task.digest, make_candidate(number)) for number in range(2)]
    for machine, digest in zip((MACHINE, OTHER_MACHINE), digests, strict=True):
        clock.now += 10
        archive.set_winner(task.digest, "any", "float32", "cpu", machine, digest)
    winner = archive.winner(task.digest, "any", "float32", "cpu", MACHINE)
    assert winner is not None
    assert winner.candidate == digests[0]


def test_a_rejected_candidate_cannot_win(archive: Archive, task: Task, candidate: Candidate) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    archive.record_verdict(task.digest, digest, MACHINE, REJECTED)
    with pytest.raises(ArchiveError, match="rejected"):
        archive.set_winner(task.digest, "", "float32", "cpu", MACHINE, digest)
    assert archive.winner(task.digest, "", "float32", "cpu", MACHINE) is None


def test_records_name_what_was_recorded_before(archive: Archive, task: Task, candidate: Candidate) -> None:
    with pytest.raises(ArchiveError, match="holds no task"):
        archive.record_candidate(task.digest, candidate)
    archive.record_task(task)
    with pytest.raises(ArchiveError, match="was not recorded for task"):
        archive.record_verdict(task.digest, candidate.digest, MACHINE, ACCEPTED)
    with pytest.raises(ArchiveError, match="holds no candidate"):
        archive.set_winner(task.digest, "", "float32", "cpu", MACHINE, candidate.digest)
    with pytest.raises(ArchiveError, match="needs a status"):
        archive.record_verdict(task.digest, candidate.digest, MACHINE, {"reason": "?"})


def test_find_by_prefix(archive: Archive, task: Task, candidate: Candidate) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    assert [(found.kind, found.digest) for found in archive.find(task.digest[:10])] == [("task", task.digest)]
    (found,) = archive.find(digest[:10].upper())
    assert (found.kind, found.digest, found.name) == ("candidate", digest, candidate.label)
    assert archive.find("0123456789" * 6) == ()
    for bad in ("", "xyz", "ab%"):
        with pytest.raises(ArchiveError, match="digest prefix"):
            archive.find(bad)


def test_export_of_a_candidate(archive: Archive, task: Task, candidate: Candidate, tmp_path: Path) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    archive.record_verdict(task.digest, digest, MACHINE, ACCEPTED)
    archive.record_measurement(task.digest, digest, MACHINE, {"seconds": 0.5})
    written = archive.export(digest, tmp_path / "out")
    assert {path.name for path in written} == {
        *("candidate.json", "source.cpp", "plan.json", "verdicts.json", "measurements.json")
    }
    assert (tmp_path / "out" / "source.cpp").read_text() == one_file(candidate)
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["results"] == ["y"]
    assert json.loads((tmp_path / "out" / "verdicts.json").read_text())[0]["content"] == ACCEPTED
    assert json.loads((tmp_path / "out" / "measurements.json").read_text())[0]["content"] == {"seconds": 0.5}


def test_export_of_a_task_holds_its_winner_only(archive: Archive, task: Task, tmp_path: Path) -> None:
    archive.record_task(task)
    digests = [archive.record_candidate(task.digest, make_candidate(number)) for number in range(2)]
    archive.set_winner(task.digest, "", "float32", "cpu", MACHINE, digests[1])
    archive.export(task.digest, tmp_path / "out")
    assert (tmp_path / "out" / "task.py").read_text() == task.text
    assert (tmp_path / "out" / "task.pickle").read_bytes() == task.payload
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == [digests[1][:12]]


def test_export_of_nothing_and_to_nowhere(archive: Archive, task: Task, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no task and no candidate"):
        archive.export("0" * 64, tmp_path)
    archive.record_task(task)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="export folder"):
        archive.export(task.digest, tmp_path / "file" / "out")


def test_gc_keeps_winners_with_their_evidence_and_what_is_new(archive: Archive, task: Task, clock: Clock) -> None:
    archive.record_task(task)
    old = [archive.record_candidate(task.digest, make_candidate(number, size=500)) for number in range(9)]
    for digest in old:
        archive.record_verdict(task.digest, digest, MACHINE, ACCEPTED)
        archive.record_measurement(task.digest, digest, MACHINE, {"seconds": 0.5})
    archive.set_winner(task.digest, "", "float32", "cpu", MACHINE, old[3], search={"effort": "full"})
    forgotten = archive.record_task(make_task(1))
    clock.now += 40 * 86400
    new = archive.record_candidate(task.digest, make_candidate(9))
    freed = archive.gc(keep_days=30)
    assert (freed.tasks, freed.candidates, freed.verdicts, freed.measurements, freed.winners) == (1, 8, 8, 8, 0)
    assert freed.bytes > 0
    assert [row.digest for row in archive.candidates(task.digest)] == [old[3], new]
    assert archive.verdict(task.digest, old[3], MACHINE) is not None
    assert archive.winner(task.digest, "", "float32", "cpu", MACHINE) is not None
    assert archive.search(task.digest, "", "float32", "cpu", MACHINE) == {"effort": "full"}
    assert archive.task(forgotten) is None
    assert archive.gc(keep_days=30) == type(freed)()


def test_gc_of_everything(archive: Archive, task: Task, candidate: Candidate, clock: Clock) -> None:
    archive.record_task(task)
    digest = archive.record_candidate(task.digest, candidate)
    archive.set_winner(task.digest, "", "float32", "cpu", MACHINE, digest, search={})
    clock.now += 1
    freed = archive.gc(keep_days=0, keep_winners=False)
    assert (freed.tasks, freed.candidates, freed.winners, freed.machines) == (1, 1, 1, 1)
    assert archive.tasks() == ()


def test_the_archive_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path / "home"))
    with Archive() as archive:
        assert archive.path == tmp_path / "home" / "archive.sqlite"
    with Archive(tmp_path / "explicit.sqlite") as archive:
        assert archive.path == tmp_path / "explicit.sqlite"


def test_listing_an_archive_imports_no_torch(tmp_path: Path) -> None:
    code = "import sys, kernelwright.archive as a; a.Archive(sys.argv[1]).tasks(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.sqlite")], check=True, timeout=60)
