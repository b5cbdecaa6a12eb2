"""The budget bounds everything: what cannot finish is left out in one line, and the best so far is served."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from kernelwright.archive import Archive
from kernelwright.judge import Measurement, OutOfTime, Ratio, Session, Verdict
from kernelwright.report import Ceilings, render_html, to_json
from kernelwright.search import COMPILE, COMPILE_AUTOTUNE, EAGER, EFFORTS, Effort, Event, Outcome, find
from kernelwright.targets import Candidate
from kernelwright.task import Cost, Task, from_callable

OURS = (Candidate("cpu", "compiler", "", None, "ours"), Candidate("cpu", "compiler", "", None, "theirs", "2"))
BALANCED = dataclasses.replace(EFFORTS["balanced"], glance=0.0, final=0.5, candidates=2)


class Proposing:
    """Proposes what it was given; remembers what it was told."""

    notes = ()

    def __init__(self, *candidates: Candidate) -> None:
        self.left, self.told = list(candidates), []

    def propose(self, count: int) -> list[Candidate]:
        batch, self.left = self.left[:1], self.left[1:]
        return batch

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        self.told.append(cost)


class Scripted:
    """A session whose answers take as long as is said, and end at the deadline."""

    cost, unscored = Cost(1.0, 1.0), ""

    def __init__(self, seconds: dict[str, float], ratios: dict[str, float]) -> None:
        self.seconds, self.ratios = seconds, ratios
        self.deadline = float("inf")
        self.measured: list[tuple[str, ...]] = []

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *fault: object) -> None: ...

    def close(self) -> None: ...

    def prepare_timing(self) -> None: ...

    def spend(self, seconds: float) -> None:
        left = self.deadline - time.monotonic()
        time.sleep(max(min(seconds, left), 0.0))
        if seconds > left:
            raise OutOfTime

    @property
    def start_seconds(self) -> float:
        return self.seconds.get("start", 0.0)

    restart_seconds = start_seconds

    def start(self) -> None:
        self.spend(self.start_seconds)

    def verify(self, candidate: Candidate) -> Verdict:
        self.spend(self.seconds.get(candidate.label, 0.0))
        return Verdict("accepted", seconds=self.seconds.get(candidate.label, 0.0))

    def measure(self, candidate: Candidate, rivals: Any, *, seconds: float, checked: int = 3) -> Measurement:
        self.spend(seconds)
        self.measured.append((candidate.label, *(rival.label for rival in rivals)))
        own = self.ratios[candidate.label]
        speedup = {r.label: Ratio(m := own / self.ratios[r.label], m * 0.9, m * 1.1) for r in rivals}
        return Measurement(1.0 / own, {r.label: 1.0 / self.ratios[r.label] for r in rivals}, speedup, 0.5, 9, False)


RATIOS = {"eager": 1.0, "ours": 2.0, "theirs": 3.0, COMPILE.label: 1.5, COMPILE_AUTOTUNE.label: 1.8}


@pytest.fixture
def task() -> Task:
    return from_callable(torch.relu, (torch.randn(4),), name="relu")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive.sqlite") as store:
        yield store


def search(
    task: Task, session: Scripted, *candidates: Candidate, budget: float, effort: Effort = BALANCED, **options: Any
) -> tuple[Outcome, list[str], float]:
    """The outcome, what was told in notes, and how long it took."""
    told: list[Event] = []
    start = time.monotonic()
    outcome = find(
        task,
        lambda: Proposing(*candidates),
        effort,
        budget,
        sessions=lambda task: session,  # type: ignore[arg-type, return-value]
        on_event=told.append,
        **options,
    )
    return outcome, [e.message for e in told if e.kind == "note"], time.monotonic() - start


def test_both_modes_are_compared_and_the_better_one_counts(task: Task) -> None:
    session = Scripted({}, RATIOS)
    outcome, notes, _ = search(task, session, *OURS, budget=30)
    assert outcome.status == "won"
    assert outcome.winner == OURS[1]
    assert outcome.measurement is not None
    assert outcome.measurement.speedup["compile"].median == pytest.approx(3.0 / 1.8)
    assert session.measured[-1] == ("theirs", "eager", COMPILE.label, COMPILE_AUTOTUNE.label)
    assert outcome.first_winner_seconds is not None
    assert notes == []


def test_candidates_are_told_apart_in_one_run(task: Task) -> None:
    """Eager is slow in one run and quick in the next: that must not decide between two candidates."""

    class Moody(Scripted):
        def measure(self, candidate: Candidate, rivals: Any, *, seconds: float, checked: int = 3) -> Measurement:
            found = super().measure(candidate, rivals, seconds=seconds, checked=checked)
            mood = 5.0 if candidate.label == "ours" else 1.0
            eager = found.speedup["eager"]
            slow = {"eager": Ratio(mood * eager.median, mood * eager.lo, mood * eager.hi)}
            return dataclasses.replace(found, speedup={**found.speedup, **slow})

    session = Moody({}, RATIOS)
    outcome, _, _ = search(task, session, *OURS, budget=30)
    assert session.measured[1] == ("theirs", "eager", "ours")
    assert outcome.winner == OURS[1]


def test_what_is_recalled_is_told_in_the_same_words(task: Task, archive: Archive) -> None:
    first, _, _ = search(task, Scripted({}, RATIOS), *OURS, budget=30, archive=archive)
    again, _, _ = search(task, Scripted({}, {}), budget=30, archive=archive)
    assert again.from_archive
    assert told_of(again) == told_of(first)


def told_of(outcome: Outcome) -> tuple[object, str]:
    """The JSON and the page of an outcome, without what depends on whether it was searched for or found."""
    found = dataclasses.replace(outcome, seconds=1.0, from_archive=False)
    return to_json([found], {}, {}), render_html(found, ceilings=Ceilings(3e10, 1e11))


def test_a_rival_that_overruns_is_killed_and_named(task: Task) -> None:
    session = Scripted({"start": 0.05, COMPILE.label: 60.0}, RATIOS)
    outcome, notes, took = search(task, session, *OURS, budget=5)
    assert took < 5.5
    assert outcome.winner == OURS[1]
    assert COMPILE.label not in session.measured[-1]
    assert [note for note in notes if note.startswith(f"{COMPILE.label} was left out: it did not finish")]


def test_a_rival_that_cannot_finish_is_not_begun(task: Task) -> None:
    session = Scripted({"start": 1.0, COMPILE.label: 60.0}, RATIOS)
    outcome, notes, took = search(task, session, OURS[0], budget=4.0)
    assert took < 3.5  # nothing was waited for
    assert outcome.winner == OURS[0]
    assert [note.split(" was left out: it takes about")[0] for note in notes] == [COMPILE.label, COMPILE_AUTOTUNE.label]


def test_at_the_end_of_the_budget_the_best_so_far_is_served(task: Task, archive: Archive) -> None:
    session = Scripted({"theirs": 60.0}, RATIOS)
    outcome, notes, took = search(task, session, *OURS, budget=3, archive=archive)
    assert took < 3.5
    assert outcome.winner == OURS[0]
    assert outcome.measurement is not None
    assert "The budget is spent: the best so far is served." in notes
    assert [row.candidate for row in archive.verdicts(task.digest)] == [OURS[0].digest]  # being cut off is no verdict


def test_without_any_time_the_users_code_is_served_and_nothing_is_believed(task: Task, archive: Archive) -> None:
    session = Scripted({"start": 60.0}, RATIOS)
    outcome, _, took = search(task, session, *OURS, budget=0.5, archive=archive)
    assert took < 1.0
    assert (outcome.status, outcome.winner) == ("baseline", EAGER)
    assert "0.5 s" in outcome.reason
    assert archive.winners() == ()


def test_the_same_text_is_tried_once(task: Task) -> None:
    session = Scripted({}, RATIOS)
    outcome, _, _ = search(task, session, OURS[0], OURS[0], OURS[1], budget=30, effort=BALANCED)
    assert [label for label, *rest in session.measured] == ["ours", "theirs", "theirs"]
    assert outcome.winner == OURS[1]


def test_a_deadline_ends_a_worker_and_blames_nobody() -> None:
    task = from_callable(lambda x: torch.relu(x) + 1, (torch.randn(8),), name="add")
    with Session(task) as session:
        session.start()
        session.deadline = time.monotonic() - 1
        with pytest.raises(OutOfTime):
            session.verify(EAGER)
        session.deadline = None
        assert session.verify(EAGER).accepted
