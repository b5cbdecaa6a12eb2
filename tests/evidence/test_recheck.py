"""A bundle judged again: what is right is accepted, a forged one is rejected, and nothing of it runs unguarded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kernelwright.errors import ReferenceFailed, WallsMissing
from kernelwright.evidence import Bundle, OtherTask, recheck
from kernelwright.judge import Session
from kernelwright.judge._walls import stand
from kernelwright.machine import versions
from kernelwright.task import from_source

from .conftest import LIMIT

needs_walls = pytest.mark.skipif(bool(stand().missing), reason="essential walls do not stand on this machine")


@needs_walls
def test_judged_again_it_is_accepted_by_new_seeds_and_by_the_recorded_ones(bundle: Bundle) -> None:
    done = recheck(bundle, seconds=0.2, memory_limit=LIMIT)
    assert done.verdict.accepted, done.verdict.reason
    recorded = {check.seed for check in bundle.verdict.checks}
    made = {check.seed for check in done.verdict.checks}
    assert len(made - recorded) > 5  # from new seeds
    assert {then.seed for then, _ in done.again} == recorded
    for then, now in done.again:
        assert (then.law, then.layout, then.sizes, then.state) == (now.law, now.layout, now.sizes, now.state)
        assert now.error <= 1
    assert done.measurement is not None
    assert "eager" in done.measurement.speedup
    assert not done.differences  # it is the very machine
    assert done.proof["indices"]["proved"] == bundle.proof["indices"]["proved"]
    assert any(wall["name"] == "network" and wall["stands"] for wall in done.walls)


@needs_walls
def test_a_forged_kernel_is_rejected(bundle: Bundle) -> None:
    source = bundle.candidate.source.replace("kw::exp(", "1.001f * kw::exp(0.999f * ", 1)
    assert source != bundle.candidate.source
    forged = replace(bundle, candidate=replace(bundle.candidate, source=source))
    done = recheck(forged, seconds=0, memory_limit=LIMIT)
    assert (done.verdict.status, done.verdict.category) == ("rejected", "value"), done.verdict.reason
    assert done.measurement is None


@needs_walls
@pytest.mark.parametrize(
    "code",
    [
        "open({witness!r}, 'w')",
        "import os; os.system('touch ' + {witness!r})",
    ],
)
def test_the_task_of_a_stranger_runs_behind_walls_only(bundle: Bundle, tmp_path: Path, code: str) -> None:
    witness = tmp_path / "ran"
    text = bundle.task.text + "\ntry:\n    " + code.format(witness=str(witness)) + "\nexcept OSError:\n    pass\n"
    done = recheck(replace(bundle, task=replace(bundle.task, text=text)), seconds=0, memory_limit=LIMIT)
    assert done.verdict.accepted, done.verdict.reason  # it was refused, and went on
    assert not witness.exists()


@needs_walls
def test_the_task_of_a_stranger_that_sends_is_ended(bundle: Bundle) -> None:
    text = bundle.task.text + "\nimport socket\nsocket.create_connection(('127.0.0.1', 9))\n"
    with pytest.raises(ReferenceFailed):
        recheck(replace(bundle, task=replace(bundle.task, text=text)), seconds=0, memory_limit=LIMIT)


def test_against_the_users_own_copy(bundle: Bundle, task_file: Path, tmp_path: Path) -> None:
    done = recheck(bundle, from_source(str(task_file)), seconds=0, memory_limit=LIMIT)
    assert done.verdict.accepted, done.verdict.reason
    other = tmp_path / "other.py"
    other.write_text(task_file.read_text().replace("scale, -1", "scale, 0"))
    with pytest.raises(OtherTask, match="texts differ"):
        recheck(bundle, from_source(str(other)), seconds=0)
    narrowed = replace(bundle, task=replace(bundle.task, structures=("given",)))
    with pytest.raises(OtherTask, match="laws of values differ"):
        recheck(narrowed, from_source(str(task_file)), seconds=0)


@needs_walls
def test_what_differs_here_is_said(bundle: Bundle) -> None:
    headers = {name: text + "\n// another version\n" for name, text in bundle.headers.items()}
    foreign = replace(
        bundle,
        headers=headers,
        recipe=replace(bundle.recipe, compiler="g++ 99", flags=("-O3", "-fplugin=evil.so")),
        machine={**bundle.machine, "fingerprint": "x", "cpu": "Other", "isa": ["avx", "amx_tile9"]},
        versions={**versions(), "torch": "1.0"},
        task=replace(bundle.task, patches=(("rows", 12),), structures=("given", "normal")),
    )
    done = recheck(foreign, seconds=0, memory_limit=LIMIT)
    assert done.verdict.accepted, done.verdict.reason  # its own headers build the same kernel
    said = " ".join(done.differences)
    for part in ("another machine: Other", "amx_tile9", "headers", "g++ 99", "without -fplugin=evil.so", "torch 1.0"):
        assert part in said, part
    assert "rows = 12" in said
    assert "given, normal" in said
    assert done.proof["indices"]["proved"] is False


def test_no_walls_no_strangers(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for a stranger's reference that could not raise its walls never hears of it."""
    with Session(bundle.task, untrusted=True, foreign=True, memory_limit=LIMIT) as session:
        asked: list[object] = []
        monkeypatch.setattr(session._oracle, "request", lambda *a, **k: asked.append(a))
        monkeypatch.setattr(session._oracle, "wait", lambda: None)
        with pytest.raises(WallsMissing):
            session.start()
        assert not asked
