"""A suite's run survives whatever a task does, and continues where it was stopped."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import made
import psutil
import pytest

from kernelwright.bench import (
    Limits,
    Partial,
    Progress,
    Settings,
    SuiteTask,
    find_tasks,
    key_of,
    run_isolated,
    run_suite,
)
from kernelwright.report import Record, record

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
LIMITS = Limits(120, 8 << 30)


def task(folder: Path, name: str, number: int = 1) -> SuiteTask:
    path = folder / f"{number}_{name}.py"
    path.write_text(made.REFERENCE)
    return SuiteTask(path.stem, path, None, number)


def run(folder: Path, name: str, limits: Limits = LIMITS) -> Record:
    return run_isolated(task(folder, name), Settings(budget=5), limits, command=FAKE)


def test_a_result_comes_back_with_its_events(tmp_path: Path) -> None:
    events: list[dict] = []
    found = run_isolated(task(tmp_path, "ok"), Settings(budget=5), LIMITS, events.append, FAKE)
    shrunk = ({"argument": 0, "dim": 0, "from": 64, "to": 8},)
    expected = {"eager": 2.5, "compile": None}, {"eager": (2.5, 2.5), "compile": None}
    assert found == Record("1_ok", "won", True, *expected, 0.5, "compiler", 3, 1.5, "", shrunk, 0.7, (0.2, 0.2, 0.2))
    assert [e["message"] for e in events] == ["capture"]
    assert events[0]["data"]["options"] == ["effort", "target"]


def test_what_a_task_prints_is_not_an_answer(tmp_path: Path) -> None:
    assert run(tmp_path, "prints").status == "won"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crash", "The task's process was ended by SIGSEGV."),
        ("refuses", "The reference raised ValueError: no."),
        ("bug", "ZeroDivisionError: one"),
    ],
)
def test_faults_are_sentences(tmp_path: Path, name: str, reason: str) -> None:
    found = run(tmp_path, name)
    assert (found.status, found.correct, found.reason) == ("failed", False, reason)
    assert found.seconds > 0


def test_a_file_that_is_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOADER", "real")
    path = tmp_path / "1_broken.py"
    path.write_text("def (")
    found = run_isolated(SuiteTask("1_broken", path, None, 1), Settings(), LIMITS, command=FAKE)
    assert found.status == "failed"
    assert "1_broken.py" in found.reason


def test_a_hang_meets_its_limit(tmp_path: Path) -> None:
    start = time.monotonic()
    found = run(tmp_path, "hang", Limits(6, 8 << 30))
    assert found.reason == "The task ran longer than its limit of 6 s."
    assert time.monotonic() - start < 60


def test_memory_meets_its_limit(tmp_path: Path) -> None:
    found = run(tmp_path, "memory", Limits(120, 1 << 30))
    assert found.reason == "The task used more memory than its limit of 1.0 GiB."


def test_a_child_that_outlives_its_worker_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "pid"
    monkeypatch.setenv("FAKE_CHILD", str(note))
    assert "exit code 7" in run(tmp_path, "child").reason
    child, deadline = int(note.read_text()), time.monotonic() + 30
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie, which nobody here could reap."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_interruption_ends_the_worker(tmp_path: Path) -> None:
    def interrupt(event: dict) -> None:
        raise KeyboardInterrupt

    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        run_isolated(task(tmp_path, "hang"), Settings(budget=5), LIMITS, interrupt, FAKE)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_suite_goes_on_after_a_failure_and_tells_how_far_it_is(tmp_path: Path) -> None:
    for number, name in enumerate(("ok", "crash", "unscored"), 1):
        task(tmp_path, name, number)
    steps: list[Progress] = []
    records = run_suite(find_tasks(tmp_path), Settings(budget=5), LIMITS, on_progress=steps.append, command=FAKE)
    assert [r.status for r in records] == ["won", "failed", "unscored"]
    assert steps[0].eta == 15  # nothing finished yet: three budgets
    ended = [s for s in steps if s.record is not None]
    assert [s.record for s in ended] == records
    assert ended[-1].eta == 0
    assert ended[0].eta > 0


def test_a_second_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, counter = tmp_path / "suite", tmp_path / "counter"
    folder.mkdir()
    monkeypatch.setenv("FAKE_COUNTER", str(counter))
    for number, name in enumerate(("ok", "refuses", "slow"), 1):
        task(folder, name, number)
    tasks, settings, path = find_tasks(folder), Settings(budget=5), tmp_path / "r.json.partial.jsonl"

    def stop(progress: Progress) -> None:
        if progress.record is not None and progress.task.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_suite(tasks, settings, LIMITS, partial=Partial(path), on_progress=stop, command=FAKE)
    with path.open("a") as file:
        file.write('{"key": "torn by a ki')
    steps: list[Progress] = []
    records = run_suite(tasks, settings, LIMITS, partial=Partial(path), on_progress=steps.append, command=FAKE)
    assert counter.read_text().split() == ["ok", "refuses", "slow"]  # each ran once over both runs
    assert [r.status for r in records] == ["won", "failed", "won"]
    assert [s.resumed for s in steps if s.record is not None] == [True, True, False]
    assert all(Partial(path).get(key_of(t, settings)) == r for t, r in zip(tasks, records, strict=True))


def test_other_settings_or_another_text_are_other_work(tmp_path: Path) -> None:
    one = task(tmp_path, "ok")
    keys = {key_of(one, s) for s in (Settings(), Settings(budget=1), Settings(effort="full"), Settings(machine="x"))}
    one.path.write_text("# other")
    assert len({*keys, key_of(one, Settings())}) == 5


def test_partial_file_survives_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'\xff\xfe\n{"key": 1}\n[]\n' + json.dumps({"key": "k", "record": {}}).encode())
    partial = Partial(path)
    assert partial.get("k") is None
    row = record(made.won())
    partial.add("k", row)
    assert Partial(path).get("k") == row
    partial.remove()
    assert not path.exists()
