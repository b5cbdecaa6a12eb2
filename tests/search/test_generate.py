"""The whole way, once: a task in, a judged and measured kernel out, with archive, lock and fallbacks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import kernelwright
from kernelwright.archive import Archive, LockEntry, write_lock
from kernelwright.errors import KernelwrightError, LockMismatch, TargetUnknown, Unsupported
from kernelwright.judge import Measurement, Ratio, Session, Verdict
from kernelwright.report import Ceilings, render_html, to_json
from kernelwright.search import COMPILE, EAGER, EFFORTS, Event, Kernel, Outcome, generate_task
from kernelwright.search._final import settle as _settle
from kernelwright.targets import Candidate
from kernelwright.task import DynamicSize, Task, from_callable


def scaled_softmax(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.softmax(torch.relu(x) * scale - x.square(), dim=-1)


ROWS = DynamicSize(arg=0, dim=0, lo=1, hi=400)
INPUTS = (torch.randn(300, 517), torch.rand(517))


@pytest.fixture(scope="module", autouse=True)
def brief() -> Iterator[None]:
    """torch.compile takes longer than all the rest together; it has a test of its own in benchmarks."""
    saved = dict(EFFORTS)
    EFFORTS["quick"] = dataclasses.replace(EFFORTS["quick"], rivals=(), glance=0.1, final=0.2)
    yield
    EFFORTS.update(saved)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELWRIGHT_HOME", str(folder))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def told() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def kernel(home: Path, told: list[Event]) -> Kernel:
    return kernelwright.generate(
        scaled_softmax, INPUTS, effort="quick", budget=60, dynamic=(ROWS,), name="scaled_softmax", on_event=told.append
    )


def compiled(kernel: Kernel) -> Candidate:
    """The generated candidate, whether or not it was the fastest on this machine today."""
    return next(t.candidate for t in kernel.outcome.candidates if t.candidate.proposer == "compiler")


def test_the_generated_candidate_is_accepted_and_measured(kernel: Kernel) -> None:
    trial = next(t for t in kernel.outcome.candidates if t.candidate.proposer == "compiler")
    assert trial.verdict.accepted, trial.verdict.reason
    assert trial.measurement is not None
    assert trial.measurement.speedup["eager"].median > 0
    assert len(trial.verdict.checks) >= 3
    assert all(check.error <= 1 for check in trial.verdict.checks)


def test_the_search_tells_what_it_does(kernel: Kernel, told: list[Event]) -> None:
    kinds = [event.kind for event in told]
    assert kinds.index("candidate") < kinds.index("verdict") < kinds.index("measured")
    assert [e.elapsed for e in told] == sorted(e.elapsed for e in told)


def test_a_kernel_serves_every_size_of_its_box(kernel: Kernel) -> None:
    for rows in (1, 33, 300, 400):
        x = torch.randn(rows, 517)
        torch.testing.assert_close(kernel(x, INPUTS[1]), scaled_softmax(x, INPUTS[1]), rtol=1e-5, atol=1e-6)


def serving(kernel: Kernel) -> Kernel:
    """A kernel that serves the generated candidate."""
    outcome = dataclasses.replace(kernel.outcome, winner=compiled(kernel))
    return Kernel(outcome, scaled_softmax, {})


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ((torch.randn(401, 517), INPUTS[1]), "verified for 1 to 400"),
        ((torch.randn(3, 518), torch.rand(518)), "outside the domain"),
        ((torch.randn(3, 517, dtype=torch.float64), INPUTS[1].double()), "outside the domain"),
        ((torch.randn(3, 517, requires_grad=True), INPUTS[1]), "gradients"),
    ],
)
def test_outside_its_domain_the_users_own_code_runs(
    kernel: Kernel, inputs: tuple[torch.Tensor, ...], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="kernelwright"):
        served = serving(kernel)
        result = served(*inputs)
        served(*inputs)
    torch.testing.assert_close(result, scaled_softmax(*inputs))
    assert result.requires_grad == inputs[0].requires_grad
    assert [why in record.message for record in caplog.records] == [True]  # said once


def test_keyword_arguments_run_the_users_own_code(kernel: Kernel) -> None:
    x, scale = INPUTS
    assert torch.equal(serving(kernel)(x, scale=scale), scaled_softmax(x, scale))


def test_a_second_run_is_served_from_the_archive(kernel: Kernel, home: Path) -> None:
    again = kernelwright.generate(
        scaled_softmax, INPUTS, effort="quick", dynamic=(ROWS,), name="scaled_softmax", on_event=lambda event: None
    )
    assert again.outcome.from_archive
    assert again.outcome.winner == kernel.outcome.winner
    assert again.measurement == kernel.measurement
    assert again.verdict == kernel.verdict
    assert again.outcome.candidates == kernel.outcome.candidates
    assert told_of(again.outcome) == told_of(kernel.outcome)


def told_of(outcome: Outcome) -> tuple[object, str]:
    """The JSON and the page of an outcome, without what depends on whether it was searched for or found."""
    found = dataclasses.replace(outcome, seconds=1.0, from_archive=False)
    return to_json([found], {}, {}), render_html(found, ceilings=Ceilings(3e10, 1e11))


def test_more_effort_goes_on_from_the_archived_winner_and_less_does_not(
    kernel: Kernel, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, judged = kernel.outcome.task, []
    monkeypatch.setattr(Session, "verify", lambda self, candidate: judged.append(candidate.label))
    monkeypatch.setitem(EFFORTS, "balanced", dataclasses.replace(EFFORTS["quick"], level=1))
    with Archive() as archive:
        known = archive.search(task.digest, "0.0:1-400", task.dtype, "cpu", archive.winners(task.digest)[0].machine)
        assert known is not None
        told: list[str] = []
        larger = generate_task(
            task, effort="balanced", archive=archive, on_event=lambda event: told.append(event.message)
        )
        assert not larger.from_archive
        assert "more effort" in told[0]
        assert judged == []  # verdicts were remembered
        for effort in ("balanced", "quick"):
            assert generate_task(task, effort=effort, archive=archive).from_archive


def search_again(task: Task, archive: Archive, **options: Any) -> bool:
    return not generate_task(task, archive=archive, effort="quick", **options).from_archive


def test_that_nothing_was_found_is_believed_until_something_changes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> Candidate:
        raise Unsupported("It has no C++ form.")

    monkeypatch.setattr("kernelwright.search._compiler.emit", refuse)
    task = from_callable(torch.nn.functional.hardswish, (torch.randn(1000),), name="hardswish")
    with Archive() as archive:
        assert search_again(task, archive, budget=30)
        assert not search_again(task, archive, budget=30)
        assert not search_again(task, archive, budget=20)
        assert search_again(task, archive, budget=40)
        assert not search_again(task, archive, budget=30)
        monkeypatch.setattr("kernelwright.search._memory.maker", lambda: "another compiler")
        assert search_again(task, archive, budget=40)
        assert not search_again(task, archive, budget=40)


def test_the_lock_decides_and_a_lock_that_cannot_be_kept_is_said(kernel: Kernel, home: Path) -> None:
    task = kernel.outcome.task
    chosen = compiled(kernel)
    with Archive() as archive:
        machine = archive.verdicts(task.digest)[0].machine
        classes, toolchain = archive.verdicts(task.digest)[0].shape_class, archive.verdicts(task.digest)[0].toolchain
        source = hashlib.sha256(chosen.source.encode()).hexdigest()
        pin = LockEntry(task.digest, classes, task.dtype, "cpu", chosen.digest, source, machine, toolchain, task.name)
        lock = home / "pins.lock"
        write_lock(lock, [pin])
        outcome = generate_task(task, archive=archive, lock=lock)
        assert outcome.from_archive
        assert outcome.winner == chosen
        write_lock(lock, [dataclasses.replace(pin, candidate="0" * 64)])
        with pytest.raises(LockMismatch, match="does not hold"):
            generate_task(task, archive=archive, lock=lock)


def test_what_the_archive_holds_is_what_was_found(kernel: Kernel, home: Path) -> None:
    with Archive() as archive:
        rows = {row.digest: row.candidate for row in archive.candidates(kernel.outcome.task.digest)}
    assert rows[compiled(kernel).digest] == compiled(kernel)


def test_explain_and_schedule_can_be_read(kernel: Kernel) -> None:
    assert "scaled_softmax" in kernel.explain()
    assert json.loads(compiled(kernel).schedule)
    assert "scaled_softmax" in compiled(kernel).source


def test_bad_options_are_sentences() -> None:
    task = from_callable(torch.relu, (torch.randn(4),))
    with pytest.raises(TargetUnknown, match="'tpu'"):
        generate_task(task, target="tpu")
    with pytest.raises(KernelwrightError, match="'maximal'"):
        generate_task(task, effort="maximal")


def test_an_interruption_keeps_the_best_so_far(home: Path) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "best":
            raise KeyboardInterrupt

    task = from_callable(torch.nn.functional.silu, (torch.randn(1000),), name="silu")
    outcome: Outcome = generate_task(task, effort="quick", on_event=interrupt)
    assert outcome.winner is not None
    assert outcome.winner.proposer == "compiler"


def test_what_cannot_be_printed_is_served_by_its_baseline(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> Candidate:
        raise Unsupported("The size s0**s1 has no C++ form.")

    monkeypatch.setattr("kernelwright.search._compiler.emit", refuse)
    task = from_callable(torch.nn.functional.mish, (torch.randn(1000),), name="mish")
    outcome = generate_task(task, effort="quick")
    assert outcome.status == "baseline"
    assert "no C++ form" in outcome.reason


def test_a_fault_of_our_own_costs_nobody_what_they_had(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> Candidate:
        raise AssertionError("two axes of one name")

    monkeypatch.setattr("kernelwright.search._compiler.emit", fail)
    task = from_callable(torch.nn.functional.logsigmoid, (torch.randn(1000),), name="logsigmoid")
    outcome = generate_task(task, effort="quick")
    assert outcome.status == "baseline"
    assert "AssertionError: two axes of one name" in outcome.reason


def test_a_killed_run_resumes_where_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(event: Event) -> None:
        if event.kind == "best":
            raise SystemExit

    judged: list[str] = []
    verify = Session.verify

    def counted(session: Session, candidate: Candidate) -> Verdict:
        judged.append(candidate.proposer)
        return verify(session, candidate)

    monkeypatch.setattr(Session, "verify", counted)
    task = from_callable(torch.nn.functional.softsign, (torch.randn(1000),), name="softsign")
    with Archive() as archive:
        with pytest.raises(SystemExit):
            generate_task(task, effort="quick", archive=archive, on_event=kill)
        assert judged == ["compiler"]
        outcome = generate_task(task, effort="quick", archive=archive)
    assert judged == ["compiler"]
    assert outcome.winner is not None
    assert not outcome.from_archive


LEADER = Candidate("cpu", "compiler", "source", None, label="compiler")


def measured(**medians: float) -> Measurement:
    speedup = {name.replace("_", "."): Ratio(m, m * 0.9, m * 1.1) for name, m in medians.items()}
    return Measurement(0.1, {name: 0.1 * r.median for name, r in speedup.items()}, speedup, 0.5, 10, False)


def test_the_fastest_by_the_median_wins_and_its_figures_are_its_own() -> None:
    final, champion = _settle(measured(eager=2.0, torch_compile=0.8), LEADER, [EAGER, COMPILE])
    assert champion is COMPILE
    assert final.speedup["eager"].median == pytest.approx(2.5)
    assert final.speedup["compile"].median == 1.0
    assert final.seconds == pytest.approx(0.08)
    assert final.roofline == pytest.approx(0.5 * 0.1 / 0.08)


def test_a_generated_leader_stays_ahead_of_both() -> None:
    final, champion = _settle(measured(eager=2.0, torch_compile=1.5), LEADER, [EAGER, COMPILE])
    assert champion is LEADER
    assert final.speedup["eager"].median == 2.0
    assert final.speedup["compile"].median == 1.5
