"""Feature search and reinforcement: candidates are asked for, graded, repaired, made faster and mixed, round by round.

After "CUDA-LLM" (arXiv 2506.09092): compile, correct and fast are the grades, correctness comes strictly first, and the
fastest candidate so far is never given up. What it lacks is added: named features with credit for what they gained, a
population that does not collapse, and an end where nothing more is to be expected.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..errors import ModelError
from ..targets import Candidate
from ._attempt import STAGES, Attempt, Author, Context, Draft, Grade
from ._features import Credit, Features
from ._population import Population

_HISTORY = 3  # the last attempts that an author is shown, besides the fastest
_LEAST_GAIN = 0.01  # expected: a round with less in sight is not begun
_SAMPLES = 200  # moves that are weighed at once


class FeatureSearch:
    """The search as a process: it hands out candidates one at a time and goes on when it hears their grades.

    ``n`` candidates in each of ``depth`` rounds, ``repair_cap`` repairs in all. ``islands`` develop apart from each
    other. ``seed`` decides every choice of the search's own. Use :meth:`run`, or :meth:`propose` and :meth:`grade`.

    Attributes: ``attempts`` (every step, with its reason), ``best``, and ``ended``, the sentence why it stopped.
    """

    def __init__(
        self,
        proposer: Author,
        n: int = 4,
        depth: int = 6,
        repair_cap: int = 10,
        *,
        islands: int = 1,
        least_gain: float = _LEAST_GAIN,
        seed: int = 0,
    ) -> None:
        self.proposer, self.n, self.depth, self.repair_cap = proposer, n, depth, repair_cap
        self.attempts: list[Attempt] = []
        self.best: Attempt | None = None
        self.ended = ""
        self.credit = Credit(proposer.luck)
        self._least_gain = least_gain
        self._population, self._count_islands = Population(islands), islands
        self._random = random.Random(seed)
        self._repairs = 0
        self._repaired: set[str] = set()
        self._sources: dict[str, str] = {}  # digests, and the step that each was first seen in
        self._asked: list[Features] = []  # of beginnings
        self._drafts: set[Features] = set()  # what was graded
        self._steps = self._rounds()
        self._open: Attempt | None = None

    # ── from outside ──

    def run(self, judge: Callable[[Candidate], Grade], most: int | None = None) -> Attempt | None:
        """Let ``judge`` grade at most ``most`` candidates; the best attempt, None if none was accepted."""
        count = 0
        while (most is None or count < most) and (candidate := self.propose()) is not None:
            self.grade(judge(candidate))
            count += 1
        return self.best

    def propose(self) -> Candidate | None:
        """The next candidate, which must be graded before another is asked for; None when the search has ended."""
        if self._open is None:
            self._open = next(self._steps, None)
        return self.waiting

    @property
    def waiting(self) -> Candidate | None:
        """The candidate that was proposed and is not graded yet."""
        return self._open.draft.candidate if self._open is not None else None

    def grade(self, grade: Grade) -> None:
        """What became of the candidate that was proposed last."""
        assert self._open is not None, "a grade is for what was proposed"
        self._keep(replace(self._open, grade=grade))
        self._open = None

    def adopt(self, candidate: Candidate, grade: Grade, features: Features = frozenset()) -> None:
        """Somebody else's candidate that may be built on: the compiler's, say."""
        step = candidate.label or candidate.proposer
        self._asked.append(features)  # it is a beginning like any other
        self._keep(Attempt(step, "adopted", Draft(candidate, features, text=candidate.source), grade))

    # ── the loop ──

    def _rounds(self) -> Iterator[Attempt]:
        """Every attempt that has a candidate, to be graded before the next is drafted."""
        try:
            for number in range(self.depth):
                if number and self._hopeless():
                    self.ended = f"A gain of less than {self._least_gain:.0%} was expected of another round."
                    return
                for place in range(self.n):
                    context = self._plan(f"{number + 1}.{place + 1}", place)
                    attempt = self._attempt(context, self.proposer.write(context), place)
                    if attempt.draft.candidate is None:
                        self._keep(attempt)
                    else:
                        yield attempt
                self._population.visit(number)
            self.ended = f"All {self.depth} rounds were run."
        except ModelError as error:
            self.ended = str(error)

    def _attempt(self, context: Context, draft: Draft, place: int) -> Attempt:
        draft = self._checked(draft, context.step)
        parents = tuple(parent.step for parent in context.parents)
        grade = Grade("answer", draft.fault)
        return Attempt(context.step, context.kind, draft, grade, parents, place % self._count_islands)

    def _checked(self, draft: Draft, step: str) -> Draft:
        """A text that was graded already is not graded again."""
        if draft.candidate is None:
            return draft
        before = self._sources.setdefault(draft.candidate.digest, step)
        if before == step:
            return draft
        return replace(draft, candidate=None, fault=f"It is the same text as {before}.")

    def _keep(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        if attempt.draft.candidate is not None:
            self._sources.setdefault(attempt.draft.candidate.digest, attempt.step)
        if attempt.grade.accepted:
            self._drafts.add(attempt.features)
            self._population.add(attempt)
            self.credit.learn(attempt.features, attempt.cost)
            if self.best is None or attempt.cost < self.best.cost:
                self.best = attempt
        elif self.best is not None and attempt.draft.candidate is not None:
            self._drafts.add(attempt.features)
            self.credit.learn(attempt.features, max(a.cost for a in self.attempts if a.grade.accepted))

    # ── what to ask for ──

    def _plan(self, step: str, place: int) -> Context:
        """Repairs come first as long as nothing is right; then what promises the largest gain."""
        history = self._history()
        broken = self._worth_repairing()
        if broken is not None:
            self._repairs += 1
            self._repaired.add(broken.step)
            return Context("repair", step, broken.features, (broken,), history)
        if self.best is None or not self._begun():
            return Context("begin", step, self._beginning(), (), history)
        return self._improvement(step, place, history)

    def _worth_repairing(self) -> Attempt | None:
        """The failure that got furthest; once something is right, only one that was nearly right itself."""
        if self._repairs >= self.repair_cap:
            return None
        nearest = "correct" if self.best is not None else "compile"
        able = [
            attempt
            for attempt in self.attempts[-self.n :]
            if not attempt.grade.accepted
            and attempt.kind != "adopted"
            and attempt.draft.candidate is not None
            and attempt.step not in self._repaired
            and STAGES.index(attempt.grade.stage) >= STAGES.index(nearest)
        ]
        return max(able, key=lambda attempt: STAGES.index(attempt.grade.stage), default=None)

    def _begun(self) -> bool:
        """Beginnings that were not asked for yet come before changes."""
        return all(features in self._asked for features in self.proposer.beginnings())

    def _beginning(self) -> Features:
        choices = list(self.proposer.beginnings()) or [frozenset()]
        features = min(choices, key=self._asked.count)
        self._asked.append(features)
        return features

    def _improvement(self, step: str, place: int, history: tuple[Attempt, ...]) -> Context:
        parents = self._population.parents(place % self._count_islands)
        choices, gains = self._weigh(parents)
        if not choices:
            return Context("improve", step, parents[0].features, (parents[0],), history)
        features = max(zip(gains, choices, strict=True), key=lambda pair: pair[0])[1]
        chosen = _nearest(features, parents)
        return Context("combine" if len(chosen) == 2 else "improve", step, features, chosen, history)

    def _weigh(self, parents: Sequence[Attempt]) -> tuple[list[Features], list[float]]:
        """Moves that nobody has made, and what may be expected of each."""
        assert self.best is not None
        fresh = [features for features in dict.fromkeys(self.proposer.moves(parents)) if features not in self._drafts]
        if len(fresh) > _SAMPLES:
            fresh = self._random.sample(fresh, _SAMPLES)
        return fresh, self.credit.gains(self.best.cost, fresh) if fresh else []

    def _hopeless(self) -> bool:
        """Whether all candidates of another round together promise next to nothing."""
        if self.best is None:
            return False
        gains = [gain for k in range(self._count_islands) for gain in self._weigh(self._population.parents(k))[1]]
        return bool(gains) and sum(sorted(gains)[-self.n :]) < self._least_gain

    def _history(self) -> tuple[Attempt, ...]:
        last = self.attempts[-_HISTORY:]
        kept = [self.best] if self.best is not None and self.best not in last else []
        return (*kept, *last)


def _nearest(features: Features, parents: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """The parents of a feature set: the fastest from which one step leads there, else the two that make it up."""

    def distance(parent: Attempt) -> int:
        return len(features ^ parent.features)

    first = min(parents, key=distance)
    left = features - first.features
    second = max(parents, key=lambda parent: len(left & parent.features))
    return (first, second) if len(left) > 1 and second is not first and left & second.features else (first,)
