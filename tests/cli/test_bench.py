"""``kernelwright bench kernelbench``: from a folder to scores, documents and a resumable run."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import made
import pytest

from kernelwright import bench

FAKE = (sys.executable, str(Path(__file__).parents[1] / "bench" / "fake_worker.py"))


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two levels of tasks for the worker whose search does what the file's name says."""
    monkeypatch.setattr("kernelwright.bench.run_suite", partial(bench.run_suite, command=FAKE))
    monkeypatch.setenv("FAKE_COUNTER", str(tmp_path / "counter"))
    folder = tmp_path / "suite"
    for name in ("level1/1_ok", "level1/2_crash", "level1/3_slow", "level2/1_unscored"):
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made.REFERENCE)
    return folder


def test_a_suite(kw: Any, suite: Path, tmp_path: Path) -> None:
    document, page = tmp_path / "r.json", tmp_path / "r.html"
    ended = kw("bench", "kernelbench", suite, "--budget", 3, "--json", document, "--html", page)
    assert ended.code == 0, ended.err
    for part in ("level1/1_ok", "2.50×", "0.50×", "SIGSEGV", "fast_1.5", "shrunk 64→8", "4 tasks: 2 won, 1 unscored"):
        assert part in ended.out, part
    assert "[4/4] level2/1_unscored unscored" in ended.err
    content = json.loads(document.read_text())
    made.assert_shape(content)
    assert content["summary"]["correct"] == 2 / 4
    assert content["summary"]["fast_1"] == content["summary"]["fast_2"] == 1 / 4
    assert content["summary"]["geomean"]["eager"] == pytest.approx((2.5 * 0.5) ** 0.5)
    assert content["tasks"][0]["shrunk"] == [{"argument": 0, "dim": 0, "from": 64, "to": 8}]
    assert "level1/3_slow" in page.read_text()
    assert list(tmp_path.glob("*.partial.jsonl")) == []


def test_level_only_and_scale(kw: Any, suite: Path, tmp_path: Path) -> None:
    document = tmp_path / "r.json"
    ended = kw("bench", "kernelbench", suite, "--level", 1, "--only", "1,3", "--scale", "official", "--json", document)
    assert ended.code == 0
    rows = json.loads(document.read_text())["tasks"]
    assert [(r["task"], r["shrunk"]) for r in rows] == [("level1/1_ok", []), ("level1/3_slow", [])]


def test_an_interrupted_run_continues(kw: Any, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bench.run_suite

    def stopping(*args: Any, on_progress: Any, **options: Any) -> Any:
        def step(progress: bench.Progress) -> None:
            on_progress(progress)
            if progress.record is not None and progress.done == 1:
                raise KeyboardInterrupt

        return whole(*args, on_progress=step, **options)

    document = tmp_path / "r.json"
    command = ("bench", "kernelbench", suite, "--level", 1, "--only", "1,3", "--json", document)
    monkeypatch.setattr("kernelwright.bench.run_suite", stopping)
    ended = kw(*command)
    assert ended.code == 130
    assert "Interrupted after 1 of 2 tasks; the same command continues." in ended.err
    assert not document.exists()
    monkeypatch.setattr("kernelwright.bench.run_suite", whole)
    assert kw(*command).code == 0
    assert (tmp_path / "counter").read_text().split() == ["ok", "slow"]
    made.assert_shape(json.loads(document.read_text()))


BAD = [
    (["--only", "one"], "--only is 'one'"),
    (["--only", "7"], "--only names task 7"),
    (["--level", "9"], "--level is 9"),
    (["--level", "-1"], "--level is -1"),
    (["--budget", "-3"], "--budget is -3"),
    (["--effort", "x"], "--effort is 'x'"),
    (["--scale", "x"], "--scale is 'x'"),
    (["--target", "x"], "--target is 'x'"),
    (["--json", "/nowhere/x"], "--json is '/nowhere/x'"),
    (["--html", "/nowhere/x"], "--html is '/nowhere/x'"),
]


@pytest.mark.parametrize(("options", "part"), BAD, ids=[" ".join(o) for o, _ in BAD])
def test_bad_options_are_one_sentence(kw: Any, suite: Path, options: list[str], part: str) -> None:
    ended = kw("bench", "kernelbench", suite, *options)
    assert ended.code == 2
    assert part in ended.sentence


def test_bad_folders_are_one_sentence(kw: Any, tmp_path: Path) -> None:
    assert "not a folder" in kw("bench", "kernelbench", tmp_path / "missing").sentence
    (tmp_path / "empty").mkdir()
    assert "holds no task files" in kw("bench", "kernelbench", tmp_path / "empty").sentence
