"""What is proved of a winner's indices: made once, when the search is over, and kept beside its verdict."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from ..archive import Archive
from ..targets import Candidate
from ._memory import maker
from ._outcome import Outcome

_LEAST = 0.2  # seconds: with less there is no time for a proof


def with_proof(outcome: Outcome, archive: Archive | None, until: float) -> Outcome:
    """The outcome with the proof of its winner: the recorded one, or one made before ``until`` (``time.monotonic``).

    A proof that time cut short is neither recorded nor shown: it says nothing.
    """
    winner = outcome.winner
    if winner is None or winner.target != "cpu" or winner.plan is None or not winner.source:
        return outcome
    digest = winner.digest
    known = archive.proof(digest, maker()) if archive is not None else None
    if known is not None:
        return replace(outcome, proof=known)
    left = until - time.monotonic()
    if outcome.from_archive or left < _LEAST:
        return outcome
    indices, whole = _proved(winner, left)
    if not whole:
        return outcome
    if archive is not None and archive.candidate(digest) is not None:
        archive.record_proof(digest, maker(), indices)
    return replace(outcome, proof=indices)


def proof_of(outcome: Outcome) -> dict[str, Any] | None:
    """The outcome's own proof; made now where there is none. None for what our compiler has not printed."""
    winner = outcome.winner
    if outcome.proof is not None or winner is None or winner.target != "cpu" or winner.plan is None:
        return outcome.proof
    return _proved(winner, float("inf"))[0]


def _proved(winner: Candidate, left: float) -> tuple[dict[str, Any], bool]:
    """What is proved within the time, and whether that was all the time that a proof may take."""
    from ..compiler.proof import SECONDS, prove  # slow to import

    proof = prove(winner, min(SECONDS, left))
    indices: Any = proof.to_json()["indices"]
    return indices, proof.proved or left >= SECONDS


__all__ = ["proof_of", "with_proof"]
