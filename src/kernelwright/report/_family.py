"""The family tree of candidates that were made from each other: who came of whom, with which features, changed how."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelwright.search._outcome import Trial

_LONGEST = 400  # lines of a difference
_CONTEXT = 2


@dataclass(frozen=True)
class Relative:
    """One candidate in the tree: ``depth`` below its first ancestor; ``diff`` is against its (first) parent."""

    trial: Trial
    depth: int
    kind: str
    features: tuple[str, ...]
    others: tuple[str, ...]  # labels of further parents
    diff: str


def family(trials: Sequence[Trial]) -> list[Relative]:
    """The relatives in the order of a tree; empty where no candidate says what it came of."""
    origins = {trial.candidate.digest: _origin(trial) for trial in trials}
    known = {trial.candidate.digest: trial for trial in trials}
    named = {digest for origin in origins.values() for digest in origin.get("parents", ())}
    members = [t for t in trials if origins[t.candidate.digest] or t.candidate.digest in named]
    if not any(origins[trial.candidate.digest] for trial in members):
        return []
    children: dict[str, list[Trial]] = {}
    for trial in members:
        parents = [digest for digest in origins[trial.candidate.digest].get("parents", ()) if digest in known]
        children.setdefault(parents[0] if parents else "", []).append(trial)

    def walk(parent: str, depth: int) -> Iterator[Relative]:
        for trial in children.get(parent, ()):
            digest, origin = trial.candidate.digest, origins[trial.candidate.digest]
            yield Relative(
                trial,
                depth,
                str(origin.get("kind", "")),
                tuple(map(str, origin.get("features", ()))),
                tuple(known[d].candidate.label for d in origin.get("parents", ())[1:] if d in known),
                _diff(known[parent], trial) if parent else "",
            )
            if digest != parent:
                yield from walk(digest, depth + 1)

    return list(walk("", 0))


def _origin(trial: Trial) -> dict[str, Any]:
    """What a candidate of a model says of where it came from; other proposers keep schedules there."""
    try:
        found = json.loads(trial.candidate.schedule or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "step" in found and "parents" in found else {}


def _diff(parent: Trial, child: Trial) -> str:
    if not child.candidate.source:
        return ""
    before, after = (t.candidate.source.splitlines() for t in (parent, child))
    lines = list(
        difflib.unified_diff(before, after, parent.candidate.label, child.candidate.label, "", "", _CONTEXT, "")
    )
    cut = [f"… {len(lines) - _LONGEST} lines more"] if len(lines) > _LONGEST else []
    return "\n".join([*lines[:_LONGEST], *cut])
