"""Language models in the one loop: beside our compiler or alone, under the same budget, judged by the same judge."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..archive import Archive
from ..errors import OptionInvalid, Unsupported
from ..judge import interface
from ..llm import (
    PROPOSER,
    Attempt,
    ChatProposer,
    Facts,
    FeatureSearch,
    Grade,
    ModelChoice,
    connect,
    machine_facts,
    subject_of,
    work_facts,
)
from ..machine import describe, peaks
from ..targets import Candidate
from ..task import Task, cost, load
from ._drive import Listener, Proposer, find
from ._effort import Effort
from ._outcome import Outcome, Trial
from ._strangers import MixedSession

_SIZES = {0: (2, 2, 4), 1: (4, 4, 8), 2: (8, 8, 16)}  # of a search, by level: candidates a round, rounds, repairs
_KEPT = 0.15  # of the budget, for the final measurement


@dataclass(frozen=True)
class Models:
    """How language models take part: "llm" alone or "both" with our compiler; ``n``, ``depth``, ``repair_cap`` of the
    search (see :class:`~kernelwright.llm.FeatureSearch`), by the effort where they are None."""

    proposer: str = "llm"
    choice: ModelChoice = field(default_factory=ModelChoice)
    n: int | None = None
    depth: int | None = None
    repair_cap: int | None = None

    def sizes(self, effort: Effort) -> tuple[int, int, int]:
        """Candidates a round, rounds and repairs."""
        n, depth, repairs = _SIZES[min(effort.level, max(_SIZES))]
        return self.n or n, self.depth or depth, repairs if self.repair_cap is None else self.repair_cap

    def effort(self, effort: Effort) -> Effort:
        """The effort with room for every candidate of the model's."""
        n, depth, repairs = self.sizes(effort)
        more = n * depth + repairs
        return replace(effort, candidates=more + (effort.candidates if self.proposer == "both" else 0))


class ModelProposer:
    """A search with a model as a proposer, after and beside ``ours``; an answer without code is a candidate without
    source, so that everything the model said is accounted for."""

    def __init__(self, search: FeatureSearch, target: str, ours: Proposer | None = None) -> None:
        self.search, self._target, self._ours = search, target, ours
        self._told = 0  # attempts that were handed out
        self._last: Trial | None = None
        self._ours_next = ours is not None
        self._pending: list[Candidate] = []

    @property
    def notes(self) -> Sequence[str]:
        return self._ours.notes if self._ours is not None else ()

    @property
    def silence(self) -> str:
        """Why there was nothing to propose."""
        return self.search.ended

    def propose(self, count: int) -> list[Candidate]:
        """One candidate at a time, in turn ours and the model's: what comes of it decides the next."""
        order = (self._of_ours, self._of_model) if self._ours_next else (self._of_model, self._of_ours)
        self._ours_next = not self._ours_next
        return next((batch for ask in order if (batch := ask())), [])

    def _of_ours(self) -> list[Candidate]:
        return self._ours.propose(1) if self._ours is not None else []

    def _of_model(self) -> list[Candidate]:
        if not self._pending:
            found = self.search.propose()
            self._pending = [*self._blanks(), *([found] if found is not None else [])]
        return [self._pending.pop(0)] if self._pending else []

    def learn(self, trial: Trial) -> None:
        """What the judge said, in full."""
        self._last = trial

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        if candidate.proposer != PROPOSER and self._ours is not None:
            self._ours.feedback(candidate, cost)
        assert self._last is not None
        grade = _grade(self._last, cost)
        if candidate is self.search.waiting:
            self.search.grade(grade)
        elif candidate.source:
            self.search.adopt(candidate, grade)

    def _blanks(self) -> list[Candidate]:
        """The answers since the last time that hold no candidate."""
        fresh, self._told = self.search.attempts[self._told :], len(self.search.attempts)
        return [self._blank(attempt) for attempt in fresh if attempt.draft.candidate is None]

    def _blank(self, attempt: Attempt) -> Candidate:
        known = {a.step: a.draft.candidate.digest for a in self.search.attempts if a.draft.candidate is not None}
        parents = [known[step] for step in attempt.parents if step in known]
        origin = {"step": attempt.step, "kind": attempt.kind, "parents": parents}
        origin["features"] = sorted(attempt.features)
        label = f"{attempt.step} (no code)"
        return Candidate(self._target, PROPOSER, "", None, label, json.dumps(origin), (attempt.draft.fault,))


def find_with_models(
    task: Task,
    ours: Callable[[], Proposer],
    models: Models,
    effort: Effort,
    budget: float,
    *,
    target: str,
    archive: Archive | None,
    lock: Path | None,
    on_event: Listener,
    since: float | None,
) -> Outcome:
    """The one loop with a model among its proposers. Raises what ``connect`` does, and ``WallsMissing``."""
    if target != "cpu":
        raise OptionInvalid(f"Language models are asked for kernels of the target cpu, not of {target}.")
    n, depth, repairs = models.sizes(effort)
    model = connect(models.choice, subject_of(task.digest, target, n, depth, repairs, models.proposer))
    until = (time.monotonic() if since is None else since) + budget * (1 - _KEPT)

    def propose() -> Proposer:
        plan = interface(task)
        if plan is None:
            raise OptionInvalid("Language models are asked for C++, which gives no gradients; leave one of both out.")
        author = ChatProposer(model, _facts(task), plan, target=target, until=lambda: until)
        search = FeatureSearch(author, n, depth, repairs, islands=2 if n > 2 else 1)
        author.credit = search.credit
        return ModelProposer(search, target, _if_possible(ours) if models.proposer == "both" else None)

    return find(
        task, propose, models.effort(effort), budget,
        target=target, archive=archive, lock=lock, sessions=MixedSession, on_event=on_event, since=since, anew=True,
    )  # fmt: skip


def _if_possible(ours: Callable[[], Proposer]) -> Proposer | None:
    """What our compiler cannot lower, a model may still write."""
    try:
        return ours()
    except Unsupported:
        return None


def _facts(task: Task) -> Facts:
    machine, measured, reference = describe(), peaks(), load(task)
    work = cost(reference.call, reference.draw(0, "given"))
    return Facts(
        task.text, tuple(machine_facts(machine, measured)), tuple(work_facts(work, machine, measured, task.dtype))
    )


def _grade(trial: Trial, cost: float | None) -> Grade:
    verdict = trial.verdict
    if cost is not None:
        return Grade("fast", cost=cost, verdict=verdict, measurement=trial.measurement)
    stage = "compile" if verdict.category == "build" else "correct"
    return Grade(stage, verdict.reason, verdict=verdict)
