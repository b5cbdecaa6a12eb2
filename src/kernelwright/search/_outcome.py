"""What a search tells while it runs and hands back when it ends: the border between the loop and whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelwright.judge import Measurement, Verdict
    from kernelwright.targets import Candidate
    from kernelwright.targets.triton import BuildReport
    from kernelwright.task import Cost, Task


@dataclass(frozen=True)
class Event:
    """One thing that happened in a running search, in the order it happened.

    ``kind`` and what ``data`` holds with it:

    - "stage": a new phase begins; ``message`` names it ("capture", "compile", "judge", "measure", or a whole phrase).
    - "candidate": a candidate exists; ``digest``, ``label``, ``proposer``.
    - "verdict": it was judged; ``digest``, ``label``, ``status``, ``reason``, ``error`` (in units of its bound).
    - "measured": it was timed; ``digest``, ``label``, ``seconds``, ``speedup`` ({rival: ratio}).
    - "best": it leads; ``digest``, ``label``, ``speedup`` ({rival: ratio}).
    - "note": something worth a line (an operation that stayed an ATen call, a cache that could not be written).

    ``elapsed`` and ``budget`` are seconds of the whole search. Every key of ``data`` may be absent.
    """

    kind: str
    message: str
    elapsed: float
    budget: float
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One candidate and what became of it; ``seconds`` is when its trial ended, counted from the search's start.

    ``compile_seconds`` is None where nothing was compiled: a baseline, or a build that was in the cache.
    """

    candidate: Candidate
    verdict: Verdict
    measurement: Measurement | None
    seconds: float
    compile_seconds: float | None = None


@dataclass(frozen=True)
class Unmeasured:
    """An accepted candidate for a machine that is not this one: proven, compiled for it, never timed.

    ``predicted``: seconds of one call that the other machine's peaks allow at best.
    """

    candidate: Candidate
    verdict: Verdict
    build: BuildReport
    predicted: float


@dataclass(frozen=True)
class Outcome:
    """What a search found for one task.

    ``status``: "won" (a generated candidate is the fastest accepted one), "baseline" (eager or ``torch.compile`` is
    served), "unscored" (the task cannot tell right from wrong, or its reference is unusable for judging), "unmeasured"
    (a candidate is accepted, but this machine cannot time it: nothing is served) or "failed".
    ``measurement`` compares the winner with the rivals "eager" and "compile". ``reason`` is a sentence, empty when won.
    ``first_winner_seconds``: when the first generated candidate was accepted and measured faster than eager.
    ``searched`` is what the search took when it ran; ``seconds``, what this answer took. ``versions`` are those of an
    archived search; empty where it ran in this process. ``proof``: what is proved of the winner's indices, where
    that is known.
    """

    task: Task
    status: str
    winner: Candidate | None
    verdict: Verdict | None
    measurement: Measurement | None
    candidates: tuple[Trial, ...]
    seconds: float
    reason: str
    from_archive: bool
    cost: Cost | None
    first_winner_seconds: float | None = None
    searched: float | None = None
    unmeasured: Unmeasured | None = None
    versions: dict[str, str] = field(default_factory=dict)
    proof: dict[str, Any] | None = None
