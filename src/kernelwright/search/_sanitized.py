"""A session of the judge that has what it accepts looked at once more, by compute-sanitizer where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..judge import Check, Session, Verdict
from ..targets import Candidate
from ..targets.cuda import find_sanitizer, sanitize


class SanitizedSession(Session):
    """Values alone do not show a race that happened to end well, or a read beyond what is allocated."""

    def verify(self, candidate: Candidate, recorded: Sequence[Check] = ()) -> Verdict:
        """The judge's verdict; what it accepts of CUDA must pass the tools as well."""
        verdict = super().verify(candidate, recorded)
        if not verdict.accepted or candidate.target != "cuda" or not candidate.source or not find_sanitizer():
            return verdict
        fault = sanitize(candidate)
        return replace(verdict, status="rejected", reason=fault, category="sanitizer") if fault else verdict


__all__ = ["SanitizedSession"]
