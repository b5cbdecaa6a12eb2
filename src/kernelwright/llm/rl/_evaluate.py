"""What a model can do on tasks that it has not seen: the channels of TritonBench and KernelBench.

*Call accuracy*: the program runs. *Execution accuracy*: it is right. ``fast_p``: the share of all tasks whose program
is right and more than ``p`` times as fast as the reference. All three stand once with and once without the rules: the
difference is what delegates to PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._reward import Outcome
from ._rules import RuleReport


@dataclass(frozen=True)
class Graded:
    """A program: what reading and running it told; ``speedup`` over the reference where both were timed on a device."""

    rules: RuleReport
    outcome: Outcome
    speedup: float | None = None


@dataclass(frozen=True)
class Channels:
    """Shares of all programs. ``execution`` counts real Triton alone; ``lax`` whatever is right."""

    count: int
    call: float
    execution: float
    lax: float
    delegating: float

    def to_json(self) -> dict[str, float]:
        return {
            "count": self.count,
            "call accuracy": self.call,
            "execution accuracy": self.execution,
            "execution accuracy without rules": self.lax,
            "right but delegating": self.delegating,
        }


def channels(graded: Sequence[Graded]) -> Channels:
    """The shares.

    >>> channels([Graded(RuleReport(True, ()), Outcome(True, False))]).call
    1.0
    """
    count = max(len(graded), 1)
    execution = sum(g.rules.ok and g.outcome.right for g in graded) / count
    lax = sum(g.outcome.right for g in graded) / count
    call = sum(g.rules.ok and g.outcome.called for g in graded) / count
    return Channels(len(graded), call, execution, lax, sum(g.outcome.right and not g.rules.ok for g in graded) / count)


def fast_p(graded: Sequence[Graded], p: float) -> float | None:
    """The share of all programs that are Triton, right and more than ``p`` times as fast; None where none was timed.

    >>> right = RuleReport(True, ()), Outcome(True, True)
    >>> fast_p([Graded(*right, 1.5), Graded(*right, 0.5)], 1.0)
    0.5
    """
    if all(g.speedup is None for g in graded):
        return None
    good = sum(g.rules.ok and g.outcome.right and (g.speedup or 0.0) > p for g in graded)
    return good / len(graded)


__all__ = ["Channels", "Graded", "channels", "fast_p"]
