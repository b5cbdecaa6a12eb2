"""Tasks with their rewards, found by prompt: the border between trainers and the box."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from ._box import Box
from ._evaluate import Graded
from ._grammar import render
from ._reward import CombinedReward, ExecutionReward, RewardTask
from ._rules import TritonRules

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


def from_tokens(answer: str) -> str:
    """The program in an answer of the tiny model."""
    return render(answer.split())


def from_prose(answer: str) -> str:
    """The program in an answer of a model that speaks: its last fenced block, else all of it.

    >>> from_prose("So:\\n```python\\nx = 1\\n```\\n")
    'x = 1'
    """
    blocks: list[str] = _FENCE.findall(answer)
    return blocks[-1] if blocks else answer


class Exam:
    """Scores answers of a model to the instructions of tasks. One process runs all programs; texts are run once each.

    ``trials``: sets of inputs for each program; ``extract``: from an answer to its program.
    """

    def __init__(
        self,
        tasks: Iterable[RewardTask],
        box: Box,
        *,
        trials: int = 2,
        timeout_s: float = 5.0,
        extract: Callable[[str], str] = from_tokens,
    ) -> None:
        self._extract, self._rules = extract, TritonRules()
        self._tasks = {task.instruction.strip(): task for task in tasks}
        self._rewards = {
            prompt: ExecutionReward(task, trials, timeout_s=timeout_s, box=box) for prompt, task in self._tasks.items()
        }

    def programs(self, prompts: Sequence[str], answers: Sequence[str]) -> list[tuple[str, str]]:
        """The task's name and the program of each answer: what other machines score."""
        return [(self._tasks[p.strip()].name, self._extract(a)) for p, a in zip(prompts, answers, strict=True)]

    def score(self, prompts: Sequence[str], answers: Sequence[str], *, rules: bool = True) -> list[float]:
        """Rewards in order; ``rules=False``: of execution alone."""
        used = self._rules if rules else None
        return [
            CombinedReward(self._rewards[p.strip()], used)(self._extract(a)).reward
            for p, a in zip(prompts, answers, strict=True)
        ]

    def grade(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Graded]:
        """Both halves of each answer's reward, whatever the other says."""
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            source, reward = self._extract(answer), self._rewards[prompt.strip()]
            found.append(Graded(self._rules.check(source, reward.task.entry), reward(source)))
        return found


__all__ = ["Exam", "from_prose", "from_tokens"]
