"""The entry point, ``doctor`` and ``archive``; and that no fault ever shows a bare traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import made
import pytest

import kernelwright
from kernelwright.archive import Archive
from kernelwright.targets import one_file


def test_version(kw: Any) -> None:
    ended = kw("--version")
    assert (ended.code, ended.out) == (0, f"kernelwright {kernelwright.__version__}\n")


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys; from kernelwright.cli import run; run(['--version']); sys.exit('torch' in sys.modules)"
    source = str(Path(kernelwright.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source, "PATH": ""}, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["bench", "kernelbench", "--help"]])
def test_help(kw: Any, arguments: list[str]) -> None:
    ended = kw(*arguments)
    assert ended.code == 0
    assert "Usage" in ended.out


@pytest.mark.parametrize("arguments", [[], ["archive"], ["bench"]])
def test_no_command_shows_help(kw: Any, arguments: list[str]) -> None:
    ended = kw(*arguments)
    assert ended.code == 2
    assert "Usage" in ended.out + ended.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["forge"], "'forge'"), (["generate"], "SOURCE"), (["archive", "show"], "DIGEST"), (["generate", "a", "b"], "b")],
)
def test_wrong_command_lines_are_one_sentence(kw: Any, arguments: list[str], part: str) -> None:
    ended = kw(*arguments)
    assert ended.code == 2
    assert part in ended.sentence
    assert ended.sentence.startswith("kernelwright: ")


def test_the_unexpected_goes_to_a_log(kw: Any, source: Path, searched: Any, home: Path) -> None:
    def search(task: Any, **options: Any) -> Any:
        raise ZeroDivisionError("a bug\nin two lines")

    searched(search)
    ended = kw("generate", source)
    assert ended.code == 1
    (log,) = (home / "cache" / "log").iterdir()
    assert ended.sentence == (f"kernelwright: unexpected ZeroDivisionError (a bug); the full traceback is in {log}.")
    assert "in two lines" in log.read_text()
    assert "Traceback" in log.read_text()


def test_debug_shows_the_traceback(kw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_DEBUG", "1")
    assert "Traceback" in kw("generate", "missing.py").err


def test_doctor(kw: Any, tmp_path: Path) -> None:
    document = tmp_path / "d.json"
    ended = kw("doctor", "--json", document)
    assert ended.code == 0, ended.err
    assert "Archive is healthy" in ended.out
    assert "--target triton" in ended.out or "GPU found" in ended.out
    content = json.loads(document.read_text())
    made.assert_shape(content)
    assert content["tasks"] == []
    assert all(check["ok"] for check in content["machine"]["checks"])


def test_doctor_finds_what_is_wrong(kw: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text("a file where the folder should be")
    ended = kw("doctor")
    assert ended.code == 1
    assert "✗ Cache folder" in ended.out


def test_doctor_on_a_real_machine(kw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kernelwright.cli import _facts

    monkeypatch.undo()  # the fixture's machine
    facts = _facts.gather()
    assert facts.machine["cores"] >= 1
    assert facts.ceilings("float32").bandwidth > 1e8
    assert facts.ceilings("float64").flops <= facts.ceilings("float32").flops
    assert any("GFLOP/s" in value for value in facts.shown()["peak"].values())


def fill(home: Path) -> tuple[str, str]:
    """Record a win and a loser; return the digests of the task and the winner."""
    outcome = made.won()
    assert outcome.winner is not None
    with Archive(home / "archive.sqlite") as archive:
        task = archive.record_task(outcome.task)
        for trial in outcome.candidates:
            candidate = archive.record_candidate(task, trial.candidate)
            verdict = {"status": trial.verdict.status, "reason": trial.verdict.reason}
            archive.record_verdict(task, candidate, "m", verdict)
        archive.record_measurement(
            task, outcome.winner.digest, "m", {"seconds": 2.9e-4, "speedup": {"eager": {"median": 2.76}}}
        )
        archive.set_winner(task, "", "float32", "cpu", "m", outcome.winner.digest)
    return task, outcome.winner.digest


def test_archive(kw: Any, home: Path, tmp_path: Path) -> None:
    home.mkdir()
    assert "empty" in kw("archive", "list").out
    task, winner = fill(home)
    listed = kw("archive", "list").out
    assert task[:12] in listed
    assert "linear_gelu_residual" in listed
    shown = kw("archive", "show", task[:10]).out
    for part in ("compiler/tile=64x128 ★", "2.76×", "290 µs", "off by 3.1 bounds", "rejected"):
        assert part in shown, part
    assert "kw::parallel_for" in kw("archive", "show", winner[:10]).out
    exported = kw("export", task[:10], "--as", "files", "--out", tmp_path / "e")
    assert exported.code == 0
    assert one_file(made.won().winner) in [p.read_text() for p in (tmp_path / "e").rglob("*.cpp")]  # type: ignore[arg-type]
    assert kw("archive", "gc", "--days", 0).code == 0
    assert winner[:12] in kw("archive", "show", task[:10]).out  # winners stay


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["show", "fff"], "'fff'"),
        (["show", "xyz"], "'xyz'"),
        (["gc", "--days", "-1"], "--days is -1"),
    ],
)
def test_archive_faults_are_one_sentence(kw: Any, arguments: list[str], part: str) -> None:
    ended = kw("archive", *arguments)
    assert ended.code == 2
    assert part in ended.sentence


def test_an_ambiguous_digest_names_what_it_fits(kw: Any, home: Path) -> None:
    home.mkdir()
    with Archive(home / "archive.sqlite") as archive:
        digests = [archive.record_task(made.task(f"t{i}", text=f"# {i}")) for i in range(17)]
    first = next(d[0] for d in digests if sum(e[0] == d[0] for e in digests) > 1)
    assert "give more digits" in kw("archive", "show", first).sentence
