"""What the judge answers: a verdict (right or wrong, the one reason) and a measurement (how fast, against whom)."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import KernelwrightError


@dataclass(frozen=True)
class Check:
    """One comparison with the float64 oracle: which inputs, the largest error in units of its bound (<= 1 passes)."""

    structure: str
    seed: int
    error: float
    detail: str = ""


@dataclass(frozen=True)
class Label:
    """What reading a candidate's source found, e.g. "calls a library operation": data, never a reason to accept.

    ``detail`` names the place; ``forbidden``: this alone rejects.
    """

    name: str
    detail: str = ""
    forbidden: bool = False


@dataclass(frozen=True)
class Verdict:
    """``status``: "accepted", "rejected" or "unjudged" (the judge could not decide, e.g. the reference failed).

    ``reason`` is the one reason as a sentence, ``category`` its class: build, crash, timeout, memory, shape, dtype,
    value, nan, input-mutated, unstable, guard, reference, rules, unscored, parameters (it does not follow the
    reference's), walls (it tried what they forbid), clock (tricks with time). ``phases`` are seconds by what they were
    spent on; ``notes`` what a reader of the verdict must know besides.
    """

    status: str
    reason: str = ""
    category: str = ""
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    phases: tuple[tuple[str, float], ...] = ()

    @property
    def accepted(self) -> bool:
        return self.status == "accepted"


@dataclass(frozen=True)
class Ratio:
    """rival time / candidate time: median of paired ratios with a bootstrap interval (95 %)."""

    median: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Measurement:
    """Times of one candidate and its rivals, interleaved in one run.

    ``seconds`` is the candidate's median; ``rivals`` the rivals' by label; ``speedup`` the paired ratios by label.
    ``roofline`` is the fraction of the machine's measured bound reached (None when the cost is unknown). ``notes``:
    rivals that were left out and why, times that physics does not allow.
    """

    seconds: float
    rivals: dict[str, float]
    speedup: dict[str, Ratio]
    roofline: float | None
    rounds: int
    cold: bool  # caches: True when inputs were rotated through more memory than the last-level cache
    notes: tuple[str, ...] = ()


class Rejected(KernelwrightError):
    """A candidate failed while it was measured; ``verdict`` says how."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class OutOfTime(KernelwrightError):
    """The session's deadline came before an answer; nothing is known about the candidate."""

    def __init__(self) -> None:
        super().__init__("The time for judging is used up.")
