"""From suggestions to one of the five levels of proficiency, as the paper defines them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from ._box import Box, Failed, lacking
from ._extract import Code, extract
from ._models import MOST, Cell
from ._tags import tags
from ._trial import try_code

LEVELS = {0.0: "non-knowledge", 0.25: "novice", 0.5: "learner", 0.75: "proficient", 1.0: "expert"}
ON_HOST = ("OpenACC",)  # run on the host where no device is


@dataclass(frozen=True)
class Suggestion:
    """One text that came back on a prompt; ``name`` says where it lies."""

    text: str
    name: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one suggestion is.

    ``kind``: right, wrong, other (another programming model or language), none (no code), again (as one before) or
    unrun (in the right model, which cannot run here).
    """

    name: str
    kind: str
    reason: str = ""
    language: str = ""
    models: tuple[str, ...] = ()
    signature: str = ""


@dataclass(frozen=True)
class Proficiency:
    """The grade of one prompt. ``score`` is None where nothing could be run; ``note`` says why, or on what it ran."""

    cell: Cell
    score: float | None
    outcomes: tuple[Outcome, ...]
    note: str = ""

    @property
    def level(self) -> str:
        return "not run" if self.score is None else LEVELS[self.score]

    def pass_at(self, k: int) -> float | None:
        """The chance that one of ``k`` suggestions drawn from these is right; None where that is not known."""
        total = len(self.outcomes)
        if self.score is None or total == 0:
            return None
        right = sum(o.kind == "right" or (o.kind == "again" and o.reason == "right") for o in self.outcomes)
        k = min(k, total)
        return 1.0 - comb(total - right, k) / comb(total, k)

    def to_json(self) -> dict[str, Any]:
        cell = self.cell
        about: dict[str, Any] = {"language": cell.model.language, "model": cell.model.name, "kernel": cell.kernel}
        about |= {"keyword": cell.keyword, "prompt": cell.prompt, "score": self.score, "level": self.level}
        about |= {"pass_at_1": self.pass_at(1), "pass_at_10": self.pass_at(10), "note": self.note}
        return about | {"suggestions": [vars(outcome) | {"models": list(outcome.models)} for outcome in self.outcomes]}


def grade(suggestions: Sequence[Suggestion | str], cell: Cell, box: Box) -> Proficiency:
    """The grade of the first ten suggestions for a prompt. Raises ``WallsMissing``."""
    given = [s if isinstance(s, Suggestion) else Suggestion(s, str(i)) for i, s in enumerate(suggestions, 1)][:MOST]
    lacks = lacking(cell.model)
    outcomes: list[Outcome] = []
    seen: dict[str, Outcome] = {}
    for suggestion in given:
        code = extract(suggestion.text, cell.model.language)
        if code is not None and code.bare in seen:
            outcomes.append(Outcome(suggestion.name, "again", seen[code.bare].kind, code.language))
            continue
        outcomes.append(_outcome(suggestion.name, code, cell, box, lacks))
        if code is not None:
            seen[code.bare] = outcomes[-1]
    if lacks:
        return Proficiency(cell, None, tuple(outcomes), f"not runnable here: {lacks}")
    note = "run on the host, without a device" if cell.model.name in ON_HOST else ""
    return Proficiency(cell, score([o.kind for o in outcomes]), tuple(outcomes), note)


def score(kinds: Sequence[str]) -> float:
    """The paper's metric of the suggestions' kinds. What is no code, or was there before, does not count.

    >>> score(["right"]), score(["right", "right"]), score(["right", "wrong"]), score(["right", "other"])
    (1.0, 0.75, 0.5, 0.25)
    """
    codes = [kind for kind in kinds if kind in ("right", "wrong", "other")]
    if "right" not in codes:
        return 0.0
    if "other" in codes:
        return 0.25
    if "wrong" in codes:
        return 0.5
    return 0.75 if len(codes) > 1 else 1.0


def _outcome(name: str, code: Code | None, cell: Cell, box: Box, lacks: str) -> Outcome:
    if code is None:
        return Outcome(name, "none", "there is no code in it")
    models = tags(code)
    about = code.language, tuple(sorted(models))
    if code.language != cell.model.language:
        return Outcome(name, "other", f"it is written in {code.language}", *about)
    if models != {cell.model.name}:
        return Outcome(name, "other", f"its programming model is {' and '.join(about[1])}", *about)
    if lacks:
        return Outcome(name, *_compiled(code, cell, box, lacks), *about)
    tried = try_code(code, cell.kernel, cell.model, box)
    if not tried.threads:
        return Outcome(name, "other", tried.reason, *about, tried.signature)
    return Outcome(name, "right" if tried.right else "wrong", tried.reason, *about, tried.signature)


def _compiled(code: Code, cell: Cell, box: Box, lacks: str) -> tuple[str, str]:
    """Kind and reason of what cannot run here: that it does not even compile may be known."""
    if cell.model.key == "cpp/cuda" and shutil.which("nvcc"):
        try:
            box.build_cuda(code.text)
        except Failed as failed:
            return "wrong", f"it {failed}"
    return "unrun", lacks


__all__ = ["LEVELS", "Outcome", "Proficiency", "Suggestion", "grade", "score"]
