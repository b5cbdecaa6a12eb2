"""What the judge answers: a verdict (right or wrong, the one reason) and a measurement (how fast, against whom)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import KernelwrightError


@dataclass(frozen=True)
class Check:
    """One comparison with the oracle: which inputs, the largest error in units of its bound (<= 1 passes), or the most
    that it can be where agreement with the reference's own answer did without float64.

    ``structure`` says it to people. What draws the same inputs again: ``seed``, ``law`` of the values, ``layout``,
    ``sizes`` as pairs of a dynamic dimension and its size, and ``state``, the seed of other parameters (0: none).
    """

    structure: str
    seed: int
    error: float
    detail: str = ""
    law: str = ""
    layout: str = "same"
    sizes: tuple[tuple[int, int], ...] = ()
    state: int = 0


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
    reference's), gradient (a result carries none although the task asks for it), walls (it tried what they forbid),
    clock (tricks with time). ``phases`` are seconds by what they were spent on; ``notes`` what a reader of the verdict
    must know besides. ``repeated`` calls had values that the candidate had met before, with others in between, and the
    results of ``varied`` of them were not the earlier ones to the last bit (right all the same, or it were rejected).
    """

    status: str
    reason: str = ""
    category: str = ""
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    phases: tuple[tuple[str, float], ...] = ()
    repeated: int = 0
    varied: int = 0

    @property
    def accepted(self) -> bool:
        return self.status == "accepted"

    @property
    def deterministic(self) -> bool | None:
        """Whether repeated calls agreed in every bit; None where none was repeated."""
        return self.varied == 0 if self.repeated else None

    @property
    def determinism(self) -> str:
        """The same as a sentence; "" where nothing is known."""
        if not self.repeated:
            return ""
        calls = "one repeated call" if self.repeated == 1 else f"{self.repeated} repeated calls"
        if self.deterministic:
            return f"Deterministic: {calls} gave the same bits again."
        return f"Not deterministic: of {calls}, {self.varied} differed in a bit, within the bound."


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


def verdict_from_json(content: Mapping[str, Any]) -> Verdict:
    """The inverse of ``asdict`` after a way through JSON."""
    fields = {**content, "checks": tuple(_check(check) for check in content["checks"])}
    fields["labels"] = tuple(Label(**label) for label in content.get("labels", ()))
    fields["notes"] = tuple(content.get("notes", ()))
    fields["phases"] = tuple((str(name), float(seconds)) for name, seconds in content.get("phases", ()))
    return Verdict(**fields)


def _check(content: Mapping[str, Any]) -> Check:
    sizes = tuple((int(dim), int(size)) for dim, size in content.get("sizes", ()))
    return Check(**{**content, "sizes": sizes})


def measurement_from_json(content: Mapping[str, Any], first: str = "eager") -> Measurement:
    """The inverse of ``asdict`` after a way through sorted JSON; the rival ``first`` comes first again."""
    fields = {name: content[name] for name in Measurement.__dataclass_fields__ if name in content}
    names = sorted(content["speedup"], key=lambda name: (name != first, name))
    speedup = {name: Ratio(**content["speedup"][name]) for name in names}
    rivals = {name: content["rivals"][name] for name in names}
    return Measurement(**{**fields, "rivals": rivals, "speedup": speedup, "notes": tuple(content["notes"])})


class Rejected(KernelwrightError):
    """A candidate failed while it was measured; ``verdict`` says how."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class OutOfTime(KernelwrightError):
    """The session's deadline came before an answer; nothing is known about the candidate."""

    def __init__(self) -> None:
        super().__init__("The time for judging is used up.")
