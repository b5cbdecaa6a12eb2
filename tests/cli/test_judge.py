"""``kernelwright judge``: what it asks the judge, shows and writes, and how it ends."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import made
import pytest

from kernelwright.errors import SourceInvalid, WallsMissing
from kernelwright.judge import Check, Label, Verdict

sys.path.insert(0, str(Path(__file__).parents[1] / "judge"))
import submissions

LABEL = Label("calls a library operation", "torch.relu in line 3")
CHECKS = (Check("given", 11, 0.25), Check("normal, not contiguous", 12, float("inf"), "[odd] at 0"))
VERDICTS = {
    "good": Verdict("accepted", checks=CHECKS[:1], seconds=1.5, labels=(LABEL,), phases=(("load", 0.5),)),
    "bad": Verdict("rejected", "Output 0 is [wrong].", "value", CHECKS, 2.0),
    "odd": Verdict("unjudged", "task is not scored: zero passes.", "unscored"),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A judge that answers by the first word of a file's name; get what it was asked."""
    calls: list[Any] = []

    class Fake:
        walls = ({"name": "network", "stands": True},)

        def __init__(self, **options: Any) -> None:
            calls.append(options)

        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *args: Any) -> None:
            calls.append("closed")

        def judge(self, task: str, path: Path) -> Verdict:
            calls.append((task, path.name))
            word = path.stem.split("_")[0]
            if word == "stop":
                raise KeyboardInterrupt
            if word not in VERDICTS:
                raise SourceInvalid(f"{task} is broken.") if word == "task" else WallsMissing("A wall is missing.")
            return VERDICTS[word]

    monkeypatch.setattr("kernelwright.judge._alone.Judge", Fake)
    monkeypatch.setattr("kernelwright.judge._early.start_early", lambda: None)
    return calls


@pytest.fixture
def folder(tmp_path: Path, source: Path) -> Path:
    """Candidates that name their task, which lies beside their folder."""
    folder = tmp_path / "candidates"
    folder.mkdir()
    (folder / "good_one.cpp").write_text(f"// task: {source.name}\nint x;\n")
    (folder / "bad_one.py").write_text(f"# class: B19\n# task: {source.name}\n")
    (folder / "notes.txt").write_text("not one")
    return folder


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("bad", 1), ("odd", 2)])
def test_the_exit_status_is_the_verdict(kw: Any, source: Path, asked: list[Any], name: str, code: int) -> None:
    ended = kw("judge", source, f"{name}.cpp")
    assert ended.code == code
    assert f"{name}.cpp is {VERDICTS[name].status}" in ended.out
    assert VERDICTS[name].reason in ended.out
    assert asked[-1] == "closed"


def test_the_evidence_is_shown(kw: Any, source: Path, asked: list[Any]) -> None:
    good, bad = kw("judge", source, "good.cpp"), kw("judge", source, "bad.cpp")
    assert "It calls a library operation: torch.relu in line 3." in good.out
    assert "load 0.50 s" in good.out
    assert "normal, not contiguous" in bad.out
    assert "inf" in bad.out


def test_options_reach_the_judge(kw: Any, source: Path, asked: list[Any]) -> None:
    kw("judge", source, "good.cpp", "--unsafe", "--time-limit", 5, "--memory", 512)
    assert asked[0] == {"time_limit": 5.0, "memory_limit": 512 << 20, "unsafe": True}


def test_the_document_names_reason_class_and_evidence(kw: Any, source: Path, asked: list[Any], tmp_path: Path) -> None:
    out = tmp_path / "verdict.json"
    assert kw("judge", source, "bad.cpp", "--json", out).code == 1
    document = json.loads(out.read_text())
    (verdict,) = document["verdicts"]
    assert verdict["status"] == "rejected"
    assert (verdict["category"], verdict["reason"]) == ("value", "Output 0 is [wrong].")
    check = verdict["checks"][0]
    assert {name: check[name] for name in ("structure", "seed", "error")} == {
        "structure": "given",
        "seed": 11,
        "error": 0.25,
    }
    assert verdict["checks"][1]["error"] is None  # strict JSON has no infinity
    assert verdict["walls"] == [{"name": "network", "stands": True}]
    assert document["summary"] == {"accepted": 0, "rejected": 1, "unjudged": 0}
    assert "torch" in document["versions"]


def test_a_fault_is_a_sentence_and_a_document(kw: Any, source: Path, asked: list[Any], tmp_path: Path) -> None:
    out = tmp_path / "verdict.json"
    ended = kw("judge", source, "walls.cpp", "--json", out)
    assert ended.code == 2
    assert "A wall is missing." in ended.err
    (verdict,) = json.loads(out.read_text())["verdicts"]
    assert (verdict["status"], verdict["category"]) == ("unjudged", "WallsMissing")


def test_a_folder_of_pairs(kw: Any, folder: Path, source: Path, asked: list[Any], tmp_path: Path) -> None:
    out = tmp_path / "verdicts.json"
    ended = kw("judge", "--batch", folder, "--json", out)
    assert ended.code == 1
    assert sorted(call for call in asked if isinstance(call, tuple)) == [
        (str(source), "bad_one.py"),
        (str(source), "good_one.cpp"),
    ]
    assert "1 accepted, 1 rejected, 0 unjudged." in ended.out
    assert len(json.loads(out.read_text())["verdicts"]) == 2


def test_a_folder_for_one_task(kw: Any, folder: Path, source: Path, asked: list[Any]) -> None:
    (folder / "bad_one.py").unlink()
    (folder / source.name).write_text(made.REFERENCE)  # the task itself is no candidate
    assert kw("judge", folder / source.name, "--batch", folder).code == 0
    assert [call[1] for call in asked if isinstance(call, tuple)] == ["good_one.cpp"]


def test_what_names_no_task_is_not_judged(kw: Any, folder: Path, asked: list[Any]) -> None:
    (folder / "good_two.c").write_text("int x;\n")
    ended = kw("judge", "--batch", folder)
    assert ended.code == 2
    assert "names no task" in ended.out
    assert "1 accepted, 1 rejected, 1 unjudged." in ended.out


def test_an_interrupted_batch_keeps_what_was_judged(kw: Any, folder: Path, asked: list[Any], tmp_path: Path) -> None:
    (folder / "stop_here.c").write_text("// task: zzz.py\n")  # its task comes last
    out = tmp_path / "verdicts.json"
    assert kw("judge", "--batch", folder, "--json", out).code == 130
    assert len(json.loads(out.read_text())["verdicts"]) == 2
    assert asked[-1] == "closed"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Give a TASK and a CANDIDATE"),
        (("task.py",), "Give a TASK and a CANDIDATE"),
        (("task.py", "x.cpp", "--time-limit", "0"), "--time-limit is 0"),
        (("task.py", "x.cpp", "--memory", "-1"), "--memory is -1"),
        (("task.py", "x.cpp", "--batch", "."), "leave one out"),
        (("--batch", "nowhere"), "which is no folder"),
        (("--batch", "EMPTY"), "holds no candidate"),
    ],
)
def test_a_wrong_command_line(kw: Any, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    ended = kw("judge", *(str(tmp_path) if a == "EMPTY" else a for a in arguments))
    assert ended.code == 2
    assert sentence in ended.sentence


@pytest.mark.slow
def test_for_real(kw: Any, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(submissions.TASK)
    candidates = tmp_path / "candidates"
    candidates.mkdir()
    (candidates / "right.cpp").write_text("// task: task.py\n" + submissions.cpp())
    (candidates / "wrong.py").write_text("# task: task.py\n" + submissions.python("return y * 1.01"))
    (candidates / "forks.cpp").write_text(
        "// task: task.py\n" + submissions.cpp(before='extern "C" int fork();', after="fork();")
    )
    out = tmp_path / "verdicts.json"
    ended = kw("judge", "--batch", candidates, "--json", out, "--memory", 1024)
    assert ended.code == 1, ended.err
    found = {Path(v["candidate"]).stem: v for v in json.loads(out.read_text())["verdicts"]}
    assert {name: v["category"] for name, v in found.items()} == {"right": "", "wrong": "value", "forks": "rules"}
    assert found["right"]["status"] == "accepted"
    assert any(w["name"] == "network" and w["stands"] for w in found["right"]["walls"])
    assert not os.path.exists(candidates / "__pycache__")
