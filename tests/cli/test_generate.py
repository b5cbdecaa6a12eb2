"""``kernelwright generate``: what it passes on, shows and writes, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import made
import pytest
from rich.console import Console

from kernelwright.cli._live import SearchView
from kernelwright.search import Event, Outcome
from kernelwright.targets import one_file, plan_from_json


def events(on_event: Any) -> None:
    """A search's life in events."""
    tag = {"digest": "d1", "label": "compiler/a"}
    on_event(Event("stage", "capture", 0.1, 5.0))
    on_event(Event("candidate", "compiler/a", 0.5, 5.0, {**tag, "proposer": "compiler"}))
    on_event(Event("verdict", "", 0.9, 5.0, {**tag, "status": "accepted", "reason": "", "error": 0.25}))
    on_event(Event("measured", "", 1.2, 5.0, {**tag, "seconds": 2.9e-4, "speedup": {"eager": 2.76}}))
    on_event(Event("best", "", 1.2, 5.0, {**tag, "speedup": {"eager": 2.76}}))
    rejected = {
        "digest": "d2",
        "label": "compiler/b",
        "status": "rejected",
        "reason": "[off] by 3 bounds",
        "error": 3.0,
    }
    on_event(Event("verdict", "", 1.9, 5.0, rejected))
    on_event(Event("note", "aten.roll stayed an ATen call", 2.0, 5.0))


def test_a_win(kw: Any, source: Path, tmp_path: Path, searched: Any) -> None:
    def search(task: Any, *, on_event: Any, **options: Any) -> Outcome:
        events(on_event)
        return made.won()

    calls = searched(search)
    out, document = tmp_path / "new" / "out", tmp_path / "r.json"
    ended = kw("generate", source, "--budget", 7, "--effort", "quick", "--out", out, "--json", document)
    assert ended.code == 0, ended.err
    (call,) = calls
    assert (call["target"], call["budget"], call["effort"]) == ("cpu", 7.0, "quick")
    assert call["task"].text == made.REFERENCE
    assert call["archive"] is not None
    for part in ("2.76×", "1.79×", "58 %", "off by 3.1 bounds", "report.html"):
        assert part in ended.out
    assert "compiler/a: accepted" in ended.err
    assert "compiler/b: rejected, [off] by 3 bounds" in ended.err
    made.assert_shape(json.loads(document.read_text()))
    assert (out / "outcome.json").read_text() == document.read_text()
    assert (out / "kernel.cpp").read_text() == one_file(made.won().winner)  # type: ignore[arg-type]
    assert plan_from_json((out / "plan.json").read_text()) == made.plan()
    page = (out / "report.html").read_text()
    assert f"kernelwright generate {source} --target cpu --budget 7 --effort quick --scale official" in page


def test_json_of_every_status_has_the_one_shape(kw: Any, source: Path, tmp_path: Path, searched: Any) -> None:
    document = tmp_path / "r.json"
    ends = [(made.won(), 0), (made.baseline(), 0), (made.unmeasured(), 0), (made.unscored(), 1), (made.failed(), 1)]
    for outcome, code in ends:
        searched(outcome)
        assert kw("generate", source, "--json", document).code == code
        content = json.loads(document.read_text())
        made.assert_shape(content)
        assert [t["status"] for t in content["tasks"]] == [outcome.status]


def test_from_the_archive_is_said(kw: Any, source: Path, searched: Any) -> None:
    searched(made.won(from_archive=True, candidates=()))
    assert "Served from the archive" in kw("generate", source).out


def test_a_baseline_says_why(kw: Any, source: Path, tmp_path: Path, searched: Any) -> None:
    searched(made.baseline())
    ended = kw("generate", source, "--out", tmp_path / "o")
    assert "No part of the task can be lowered." in ended.out
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["outcome.json", "report.html"]


def test_what_no_gpu_timed_is_shown_and_written_but_not_served(
    kw: Any, source: Path, tmp_path: Path, searched: Any
) -> None:
    calls = searched(made.unmeasured())
    ended = kw("generate", source, "--target", "triton", "--out", tmp_path / "o")
    assert ended.code == 0, ended.err
    assert calls[0]["target"] == "triton"
    for part in ("compiled for sm_90", "k0_kernel", "8×2", "75 %", "2.0 KiB", "unmeasured", "nothing is served"):
        assert part in ended.out
    assert (tmp_path / "o" / "kernel.py").read_text() == "import triton\n"
    assert "import</span>" in (tmp_path / "o" / "report.html").read_text()


def test_without_triton_its_target_is_one_sentence(kw: Any, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: known(name, *rest) if name != "triton" else None
    )
    assert kw("generate", source, "--target", "triton").err.splitlines()[-1] == (
        "kernelwright: The target triton needs the package triton: pip install 'kernelwright[triton]'."
    )


def test_nothing_found_is_one_sentence(kw: Any, source: Path, searched: Any) -> None:
    searched(made.failed())
    assert kw("generate", source).sentence == "The reference raised ValueError: no."


def test_interruption_keeps_the_best(kw: Any, source: Path, searched: Any) -> None:
    def search(task: Any, result: Outcome, **options: Any) -> Outcome:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        except KeyboardInterrupt:
            return result
        raise AssertionError("the interruption did not arrive")

    before = signal.getsignal(signal.SIGINT)
    searched(lambda task, **options: search(task, made.won()))
    assert kw("generate", source).code == 0
    searched(lambda task, **options: search(task, made.failed()))
    assert kw("generate", source).code == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_interruption_before_the_search_takes_over(kw: Any, source: Path, searched: Any) -> None:
    def search(task: Any, **options: Any) -> Outcome:
        raise KeyboardInterrupt

    searched(search)
    ended = kw("generate", source)
    assert (ended.code, ended.sentence) == (130, "Interrupted before anything was found.")


def test_lock_pins_what_the_archive_keeps(kw: Any, source: Path, tmp_path: Path, searched: Any) -> None:
    def search(task: Any, *, archive: Any, **options: Any) -> Outcome:
        outcome = made.won(task=task)
        digest = archive.record_task(task)
        candidate = archive.record_candidate(digest, outcome.winner)
        archive.record_verdict(digest, candidate, "machine", {"status": "accepted"})
        archive.set_winner(digest, "", "float32", "cpu", "machine", candidate)
        return outcome

    searched(search)
    lock = tmp_path / "kernelwright.lock"
    assert kw("generate", source, "--lock", lock).code == 0
    (pin,) = json.loads(lock.read_text())["winners"]
    assert pin["candidate"] == made.won().winner.digest  # type: ignore[union-attr]
    searched(made.baseline())
    assert "was not written" in kw("generate", source, "--lock", tmp_path / "other.lock").err


BAD = [
    (["--effort", "heroic"], "--effort is 'heroic'; it must be one of quick, balanced, full."),
    (["--scale", "huge"], "--scale is 'huge'; it must be one of official, cpu."),
    (["--target", "abacus"], "--target is 'abacus'; it must be one of "),
    (["--budget", "0"], "--budget is 0; it must be a number of seconds above 0."),
    (["--budget", "nan"], "--budget is nan; it must be a number of seconds above 0."),
    (["--budget", "soon"], "'--budget'"),
    (["--json", "/nowhere/r.json"], "the folder '/nowhere' does not exist"),
    (["--json", "."], "is a folder"),
    (["--out", "/proc/nowhere"], "--out is '/proc/nowhere', which cannot be written"),
    (["--lock", "/nowhere/kernelwright.lock"], "--lock is '/nowhere/kernelwright.lock'"),
    (["--colour", "red"], "--colour"),
]


@pytest.mark.parametrize(("options", "part"), BAD, ids=[" ".join(o) for o, _ in BAD])
def test_bad_options_are_one_sentence(kw: Any, source: Path, searched: Any, options: list[str], part: str) -> None:
    calls = searched(made.won())
    ended = kw("generate", source, *options)
    assert ended.code == 2
    assert part in ended.sentence
    assert not calls


def test_bad_sources_are_one_sentence(kw: Any, tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.py", tmp_path / "empty.py"
    broken.write_text("def (")
    empty.write_text("")
    for path in (tmp_path / "missing.py", broken, empty):
        ended = kw("generate", path)
        assert ended.code == 2
        assert path.name in ended.sentence


def test_an_output_that_fails_later_leaves_no_rubbish(kw: Any, source: Path, tmp_path: Path, searched: Any) -> None:
    folder = tmp_path / "o"

    def search(task: Any, **options: Any) -> Outcome:
        (folder / "r.json").mkdir()  # somebody puts a folder where the file should go
        return made.won()

    folder.mkdir()
    searched(search)
    ended = kw("generate", source, "--json", folder / "r.json")
    assert ended.code == 2
    assert "r.json cannot be written" in ended.err
    assert [p.name for p in folder.iterdir()] == ["r.json"]


def test_live_picture() -> None:
    console = Console(file=open(os.devnull, "w"), width=120, record=True, force_terminal=True)  # noqa: SIM115
    view = SearchView(console, 5.0, clock=lambda: 100.0)
    events(view.on_event)
    console.print(view.render())
    shown = console.export_text()
    for part in ("compiler/a ★", "accepted", "0.25", "290 µs", "2.76×", "compiler/b", "[off] by 3 bounds", "0:03"):
        assert part in shown, part


def test_live_picture_scrolls() -> None:
    console = Console(file=sys.stderr, width=100, record=True, force_terminal=True)
    view = SearchView(console, 5.0)
    for i in range(40):
        view.on_event(Event("candidate", "", 1.0, 5.0, {"digest": str(i), "label": f"candidate-{i}"}))
    console.print(view.render())
    shown = console.export_text()
    assert "28 more" in shown
    assert "candidate-39" in shown
    assert "candidate-27" not in shown
