"""``verify``, ``export`` and ``import``: what they read and write, what they say, and how they end."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import pytest

from kernelwright.archive import Archive
from kernelwright.errors import WallsMissing
from kernelwright.evidence import Bundle, OtherTask, Recheck, gather, read_bundle
from kernelwright.judge import Check, Verdict
from kernelwright.search._memory import Memory
from kernelwright.targets import Candidate, EntryCall, InputSpec, Plan, TensorSpec
from kernelwright.task import Task, from_source

sys.path.insert(0, str(Path(__file__).parents[1] / "judge"))
import submissions

CHECKS = (Check("given", 11, 0.25, law="given"), Check("normal, not contiguous", 12, 0.5, "", "normal", "strided"))
X = TensorSpec("x", (12, 16), "float32", (16, 1))
PLAN = Plan((InputSpec(("arg", 0), X),), (replace(X, name="y"),), (EntryCall("run0", ("x", "y")),), ("y",))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "task.py").write_text(submissions.TASK)
    return from_source(str(tmp_path / "task.py"))


@pytest.fixture
def bundle(task: Task) -> Bundle:
    candidate = Candidate("cpu", "compiler", "#include <kw/abi.h>\nint x;\n", PLAN, "compiler")
    return gather(task, candidate, Verdict("accepted", checks=CHECKS), made.measurement(8e-4), {"torch": "2"})


@pytest.fixture
def file(bundle: Bundle, tmp_path: Path) -> Path:
    bundle.write(tmp_path / "kernel.zip")
    return tmp_path / "kernel.zip"


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> Any:
    """Script what judging again says; get what it was asked."""
    calls: list[Any] = []

    def script(verdict: Verdict | Exception) -> list[Any]:
        def fake(found: Bundle, task: Task | None, **options: Any) -> Recheck:
            calls.append((found, task, options))
            if isinstance(verdict, Exception):
                raise verdict
            again = tuple((check, replace(check, error=check.error / 2)) for check in CHECKS)
            walls = ({"name": "network", "stands": True},)
            return Recheck(verdict, made.measurement(9e-4), again, ("It is older.",), bundle.proof, walls)

        monkeypatch.setattr("kernelwright.evidence.recheck", fake)
        return calls

    return script


ACCEPTED = Verdict("accepted", checks=(*CHECKS, Check("large", 99, 0.1, law="large")))


def test_an_accepted_one(kw: Any, file: Path, judged: Any, bundle: Bundle, tmp_path: Path) -> None:
    calls = judged(ACCEPTED)
    ended = kw("verify", file, "--json", tmp_path / "v.json", "--seconds", 0.5)
    assert ended.code == 0, ended.err
    assert calls[0][0] == bundle
    assert calls[0][1] is None
    assert calls[0][2]["seconds"] == 0.5
    for part in ("every part is what the manifest lists", "is accepted", "It is older.", "1 checks from new seeds"):
        assert part in ended.out, part
    assert "read task.py" in ended.out
    document = json.loads((tmp_path / "v.json").read_text())
    assert document["digest"] == bundle.digest
    assert document["again"][1]["then"]["seed"] == 12
    assert document["again"][1]["here"]["error"] == 0.25
    assert document["differences"] == ["It is older."]
    assert document["recorded_measurement"]["speedup"].keys() == document["measurement"]["speedup"].keys()


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict("rejected", "Output 0 is wrong.", "value"), 1),
        (Verdict("unjudged", "The task is not scored.", "unscored"), 2),
    ],
)
def test_the_exit_status_is_the_verdict(kw: Any, file: Path, judged: Any, verdict: Verdict, code: int) -> None:
    judged(verdict)
    ended = kw("verify", file)
    assert ended.code == code
    assert verdict.reason in ended.out


def test_the_users_own_task(kw: Any, file: Path, judged: Any, task: Task) -> None:
    calls = judged(ACCEPTED)
    ended = kw("verify", file, "--task", task.path)
    assert calls[0][1].digest == task.digest
    assert "read task.py" not in ended.out
    judged(OtherTask("The bundle's task is not task: their texts differ."))
    assert "their texts differ" in kw("verify", file, "--task", task.path).sentence
    judged(WallsMissing("A wall is missing."))
    assert kw("verify", file).code == 2


def test_a_tampered_bundle_is_one_sentence_and_nothing_is_judged(kw: Any, file: Path, judged: Any) -> None:
    calls = judged(ACCEPTED)
    whole = file.read_bytes()
    place = whole.index(b"int x;")
    file.write_bytes(whole[:place] + b"int z;" + whole[place + 6 :])
    ended = kw("verify", file)
    assert ended.code == 2
    assert ended.sentence.startswith("kernelwright: ")
    assert not calls


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("verify", "missing.zip"), "cannot be read"),
        (("verify", "BUNDLE", "--seconds", "-1"), "--seconds is -1"),
        (("verify", "BUNDLE", "--time-limit", "0"), "--time-limit is 0"),
        (("verify", "BUNDLE", "--task", "nowhere.py"), "nowhere.py"),
        (("export", "BUNDLE", "--as", "tarball", "--out", "x"), "--as is 'tarball'"),
        (("export", "fff", "--out", "/proc/nowhere/x"), "--out is '/proc/nowhere/x'"),
        (("export", "fff", "--as", "files", "--out", "/proc/nowhere"), "--out is '/proc/nowhere'"),
        (("export", "fff", "--out", "OUT"), "which the archive does not hold"),
        (("import", "missing.json", "--out", "OUT"), "cannot be read"),
    ],
)
def test_a_fault_is_one_sentence(
    kw: Any, file: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    places = {"BUNDLE": file, "OUT": tmp_path / "out"}
    ended = kw(*(places.get(word, word) for word in arguments))
    assert ended.code == 2
    assert sentence in ended.sentence


def test_a_bundle_out_of_the_archive(kw: Any, home: Path, task: Task, bundle: Bundle, tmp_path: Path) -> None:
    home.mkdir()
    outcome = replace(made.won(), task=task, winner=bundle.candidate, verdict=bundle.verdict, candidates=())
    with Archive(home / "archive.sqlite") as archive:
        Memory(archive, task, "cpu").crown(outcome, 0, 1.0)
    out = tmp_path / "b.zip"
    ended = kw("export", task.digest[:12], "--out", out)
    assert ended.code == 0, ended.err
    assert ended.out.strip() == str(out)
    assert read_bundle(out).candidate.digest == bundle.candidate.digest
    with zipfile.ZipFile(out) as archive_file:
        assert "task.py" in archive_file.namelist()


def test_a_model_new_and_a_trace_out_of_a_bundle_and_back(kw: Any, file: Path, tmp_path: Path) -> None:
    assert kw("export", file, "--as", "modelnew", "--out", tmp_path / "new.py").code == 0
    assert "class ModelNew(Model)" in (tmp_path / "new.py").read_text()
    ended = kw("export", file, "--as", "trace", "--out", tmp_path / "trace")
    written = ended.out.split()
    assert len(written) == 4
    assert all(Path(path).is_file() for path in written)
    ended = kw("import", *written, "--out", tmp_path / "in")
    assert ended.code == 0, ended.err
    assert f"kernelwright judge {tmp_path / 'in' / 'task.py'}:run" in ended.out
    assert (tmp_path / "in" / "candidate.cpp").read_text().startswith("// kernelwright-plan: ")
