"""Many more calls of an accepted candidate: what is wrong only now and then, or only after a while, must show.

A verification makes some thirty calls. Here follow hundreds or thousands, as many as fit into a moment: each round
brings a few sets of values that nobody has seen and calls the candidate on them again and again in random order. One
result of each set is held against the oracle, and all others against that one, bit by bit; what differs in a bit is
held against the oracle too. Of ``n`` calls compared, a fault in one of ``n / 3`` shows with 95 %, and whoever waits
for the n-th call does not know n. In the first rounds it may go on after its answer while it is watched.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..targets import Candidate
from ._reference import same_bits
from ._trial import BATCH_BYTES, Trial, blamed, rejection

if TYPE_CHECKING:
    from ._session import Session

_SETS = 4  # of arguments in a round
_CALLS = (4000, 6000)  # at most, if they are short: a number in between
_ROUND_CALLS = 512
_LEAST = 64  # calls, if they take no longer than the limit
_SECONDS = 0.5  # by the pace of the best round, so that a busy machine does not decide what gets through
_LIMIT = 3.0  # seconds that may pass
_SHARE = 0.2  # of the time for one round's calls
_GROWTH = 8  # times the calls so far may follow
_SETTLED = 2  # rounds in which it is watched after its answer
_CONFIDENCE = 3.0  # -ln(5 %)


class Tail(Trial):
    """A candidate alone, called again and again."""

    CALL = "one of many more calls"

    def __init__(self, session: Session, candidate: Candidate) -> None:
        super().__init__(session, candidate, ())
        self.others = []
        self.most = min(self.most, _SETS)
        output = max(int(session.facts["output_bytes"]), 1)
        self.batch = 1 if self.alone else max(self.most, min(_ROUND_CALLS, BATCH_BYTES // output))
        self.wanted = self.rng.randint(*_CALLS)
        self.calls = 0  # that were compared
        self.each = 1e-2  # seconds that a call took in the best round so far, with all that belongs to it

    def run_calls(self) -> None:
        """Raises ``Rejected`` when one of the calls is wrong or late."""
        with self.clearing_up():
            self._prepare()
            for _ in range(_SETTLED):
                self._call_again(self.most, settle=True)
            made, start = _SETTLED * self.most, time.monotonic()
            while made < self.wanted and time.monotonic() - start < _LIMIT:
                if made >= _LEAST and made * self.each > _SECONDS:
                    break
                count, begin = self._count(made), time.monotonic()
                self._call_again(count, settle=False)
                self.each = min(self.each, (time.monotonic() - begin) / count)
                made += count

    @property
    def text(self) -> str:
        """What so many calls say, as a sentence."""
        share = max(self.calls / _CONFIDENCE, 1.0)
        return f"{self.calls} more calls were right: a fault in one of {share:.0f} would have shown with 95 %."

    def _count(self, made: int) -> int:
        """Calls of the next round: as many as are expected to take a share of the time. A busy machine makes one expect
        too few: a few times what was made already are right if they end soon.
        """
        if self.alone:
            return 1
        bold = _GROWTH * made if _GROWTH * made * self.each < 0.3 * _LIMIT else 0
        expected = int(_SHARE * _SECONDS / max(self.each, 1e-7))
        return max(self.most, min(self.batch, self.wanted - made, max(expected, bold)))

    def _call_again(self, count: int, *, settle: bool) -> None:
        """One round of so many calls. Raises ``Rejected``."""
        with blamed("while it was called again and again"):
            self._round_of(count, settle)

    def _round_of(self, count: int, settle: bool) -> None:
        session = self.session
        session.ask_candidate({"op": "rounds_stage"})
        session.worker.freeze()
        session.ask_oracle({"op": "fresh_write", "seeds": [session.new_seed() for _ in range(self.most)]})
        sets = [*range(self.most), *(self.rng.randrange(self.most) for _ in range(count - self.most))]
        self.rng.shuffle(sets)
        _, places = self._sample(session.worker, self.mine.name, sets, copied=not settle)
        if not isinstance(places, list) or len(places) != count:
            raise rejection("crash", "its answer is garbage")
        self._read(places, range(count))
        if settle:
            self._settle(places, range(count))
        odd = self._odd_ones(sets)
        before = self.verified
        self._compare(odd, sets)
        self.calls += count - len(odd) + self.verified - before

    def _odd_ones(self, sets: Sequence[int]) -> list[int]:
        """A call of each set, and those whose results differ from that one's: these are held against the oracle."""
        first: dict[int, int] = {}
        odd = []
        for call in self.rng.sample(range(len(sets)), len(sets)):
            model = first.setdefault(sets[call], call)
            if model == call or not self._alike(model, call):
                odd.append(call)
        return odd

    def _alike(self, one: int, other: int) -> bool:
        room = self._room
        pairs = zip(self._of(one), self._of(other), strict=True)
        return all(same_bits(room.tensor(a), room.tensor(b)) for a, b in pairs)
