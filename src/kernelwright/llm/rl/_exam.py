"""Tasks of the small language with their rewards, kept by prompt: the border between trainers and the box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ._box import Box
from ._evaluate import Graded
from ._grammar import Spec, render
from ._reward import CombinedReward, ExecutionReward
from ._rules import TritonRules


class Exam:
    """Scores answers of a model to prompts of specs. One process runs all programs; texts are run once each.

    ``trials``: sets of inputs for each program.
    """

    def __init__(self, specs: Iterable[Spec], box: Box, *, trials: int = 2, timeout_s: float = 5.0) -> None:
        self._rewards = {s.prompt: ExecutionReward(s.task(), trials, timeout_s=timeout_s, box=box) for s in specs}
        self._rules = TritonRules()

    def score(self, prompts: Sequence[str], answers: Sequence[str], *, rules: bool = True) -> list[float]:
        """Rewards in order; ``rules=False``: of execution alone."""
        used = self._rules if rules else None
        return [
            CombinedReward(self._rewards[p.strip()], used)(render(a.split())).reward
            for p, a in zip(prompts, answers, strict=True)
        ]

    def grade(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Graded]:
        """Both halves of each answer's reward, whatever the other says."""
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            source, reward = render(answer.split()), self._rewards[prompt.strip()]
            found.append(Graded(self._rules.check(source, reward.task.entry), reward(source)))
        return found


__all__ = ["Exam"]
