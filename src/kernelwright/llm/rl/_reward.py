"""What a program is worth: 1 where it really is Triton and computes what the task's reference computes, else 0.

``r = is_triton * test_passed`` (arXiv 2507.05687, section on reinforcement learning). The truth is evaluated in
float64 where no program can look; programs see inputs alone, drawn anew for each trial. Kernels are interpreted, so a 1
says what they mean, not that they race with nobody or fit a GPU.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ._box import Box, Ran
from ._rules import RuleReport, TritonRules

if TYPE_CHECKING:
    from torch import Generator, Tensor

ATOL = RTOL = 1e-4  # of float32 against float64; KernelBench's 1e-2 lets a lost column of a long row through


@dataclass(frozen=True)
class RewardTask:
    """What is to be computed: a plain PyTorch ``reference`` of tensors, and how its inputs are drawn.

    ``draw(generator, trial)`` returns the inputs, of another size in each trial if it likes. ``instruction`` is the
    prompt, ``entry`` the function that a program must define.
    """

    name: str
    instruction: str
    reference: Callable[..., Any]
    draw: Callable[[Generator, int], tuple[Tensor, ...]]
    entry: str = "run"


@dataclass(frozen=True)
class Outcome:
    """``called``: every call returned (call accuracy); ``right``: what the reference returns (execution accuracy)."""

    called: bool
    right: bool
    reason: str = ""

    @property
    def reward(self) -> float:
        """1.0 or 0.0."""
        return float(self.right)


class ExecutionReward:
    """Runs programs for one task: ``trials`` sets of inputs, tolerances as of ``torch.allclose``, and a limit on time.

    ``timeout_s``: seconds of computing for all trials; processor time is what counts, so that a busy machine changes no
    reward. Not safe for concurrent calls.
    """

    def __init__(
        self,
        task: RewardTask,
        trials: int = 2,
        atol: float = ATOL,
        rtol: float = RTOL,
        timeout_s: float = 5.0,
        *,
        seed: int = 0,
        box: Box | None = None,
    ) -> None:
        self.task, self.trials, self.atol, self.rtol, self.timeout_s = task, trials, atol, rtol, timeout_s
        self.seed, self.box = seed, box or Box()
        self._known: dict[str, Outcome] = {}

    def __call__(self, source: str) -> Outcome:
        """Run a program; a text that was seen before is not run again. Raises ``WallsMissing``."""
        key = hashlib.sha256(source.encode(errors="replace")).hexdigest()
        if key not in self._known:
            try:
                source.encode()
            except UnicodeEncodeError:
                return Outcome(False, False, "it is no text")
            calls = [inputs for inputs, _ in self._truth]
            self._known[key] = self._judge(self.box.run(source, self.task.entry, calls, self.timeout_s))
        return self._known[key]

    @cached_property
    def _truth(self) -> list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Inputs, and what float64 makes of them in the reference's own dtypes."""
        import torch

        found = []
        for trial in range(self.trials):
            inputs = self.task.draw(torch.Generator().manual_seed(self.seed + trial), trial)
            with torch.no_grad():
                plain = _tensors(self.task.reference(*inputs))
                exact = _tensors(self.task.reference(*(t.double() if t.is_floating_point() else t for t in inputs)))
            found.append((inputs, tuple(e.to(p.dtype) for e, p in zip(exact, plain, strict=True))))
        return found

    def _judge(self, ran: Ran) -> Outcome:
        if ran.failed:
            return Outcome(False, False, f"it {ran.failed}")
        if len(ran.results) != self.trials:
            return Outcome(False, False, "it did not answer every call")
        for results, (_, expected) in zip(ran.results, self._truth, strict=True):
            wrong = self._compare(results, expected)
            if wrong:
                return Outcome(True, False, wrong)
        return Outcome(True, True)

    def _compare(self, results: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> str:
        import torch

        if len(results) != len(expected):
            return f"it returned {len(results)} tensors instead of {len(expected)}"
        for mine, its in zip(results, expected, strict=True):
            if mine.dtype != its.dtype:
                return f"it returned {mine.dtype} instead of {its.dtype}"
            if mine.shape != its.shape:
                return f"it returned shape {tuple(mine.shape)} instead of {tuple(its.shape)}"
            if not torch.allclose(mine.double(), its.double(), self.rtol, self.atol, equal_nan=True):
                off = (mine.double() - its.double()).abs().nan_to_num(math.inf)
                return f"it is off by {off.max().item():.3g}"
        return ""


@dataclass(frozen=True)
class Scored:
    """A program's reward and its two halves; ``outcome`` is None where reading was enough for a 0."""

    reward: float
    rules: RuleReport
    outcome: Outcome | None


class CombinedReward:
    """Rules times execution, the cheap one first. ``rules=None`` switches them off: the paper's ablation."""

    def __init__(self, execution: ExecutionReward, rules: TritonRules | None) -> None:
        self.execution, self.rules = execution, rules

    def __call__(self, source: str) -> Scored:
        """Score a program. Raises ``WallsMissing``."""
        report = self.rules.check(source, self.execution.task.entry) if self.rules else RuleReport(True, ())
        if not report.ok:
            return Scored(0.0, report, None)
        outcome = self.execution(source)
        return Scored(outcome.reward, report, outcome)


def combined_reward(rules: RuleReport, execution: Outcome) -> float:
    """``1[is_triton] * 1[test_passed]``.

    >>> combined_reward(RuleReport(True, ()), Outcome(True, True))
    1.0
    """
    return float(rules.ok) * execution.reward


def _tensors(found: Any) -> tuple[Tensor, ...]:
    return tuple(found) if isinstance(found, tuple | list) else (found,)


__all__ = ["ATOL", "RTOL", "CombinedReward", "ExecutionReward", "Outcome", "RewardTask", "Scored", "combined_reward"]
