"""Many more calls of an accepted candidate: what is wrong only now and then, or only after a while, must show.

A verification makes some thirty calls. Here follow hundreds or thousands, as many as fit into a moment: each round
brings a few sets of values that nobody has seen and calls the candidate on them again and again in random order. One
result of each set is held against the oracle, and all others against that one, bit by bit; what differs in a bit is
held against the oracle too. Of ``n`` calls compared, a fault in one of ``n / 3`` shows with 95 %, and whoever waits
for the n-th call does not know n. In the first rounds it may go on after its answer while it is watched.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..targets import Candidate
from ._arena import Arena
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
        self.repeated = self.varied = 0  # of values met before; of these, those that differ in a bit
        self.each = 1e-2  # seconds that a call took in the best round so far, with all that belongs to it
        self.pace = math.inf  # seconds of a call in the best of the rounds in which it was watched
        self.shelf: Arena | None = None  # where the candidate puts results
        self.models: Arena | None = None  # one result for each set of the round, at the set's place
        self.known: set[int] = set()  # sets that have one

    def run_calls(self) -> None:
        """Raises ``Rejected`` when one of the calls is wrong or late."""
        with self.clearing_up():
            self._prepare()
            self._share_shelf()
            for _ in range(_SETTLED):
                self._call_again(self.most, settle=True)
            if self.pace * _LEAST > _LIMIT:  # else a busy machine makes a few calls look slow
                self.each = self.pace
            made, start = _SETTLED * self.most, time.monotonic()
            while made < self.wanted and time.monotonic() - start < _LIMIT:
                if made >= _LEAST and made * self.each > _SECONDS:
                    break
                count, begin = self._count(made), time.monotonic()
                self._call_again(count, settle=False)
                self.each = min(self.each, (time.monotonic() - begin) / count)
                made += count

    @contextmanager
    def clearing_up(self) -> Iterator[None]:
        try:
            with super().clearing_up():
                yield
        finally:
            for arena in (self.shelf, self.models):
                if arena is not None:
                    arena.close()

    @property
    def text(self) -> str:
        """What so many calls say, as a sentence."""
        share = max(self.calls / _CONFIDENCE, 1.0)
        return f"{self.calls} more calls were right: a fault in one of {share:.0f} would have shown with 95 %."

    def _share_shelf(self) -> None:
        self.shelf, self.models = Arena.create(self._room.size), Arena.create(self._room.size)
        slots = [[slot.to_json() for slot in self._of(k)] for k in range(self.batch)]
        with blamed("while it was called again and again"):
            self.session.ask_candidate({"op": "rounds_shelf", "slots": slots}, [self.shelf.descriptor])

    def _count(self, made: int) -> int:
        """Calls of the next round: as many as are expected to take a share of the time. A busy machine makes one expect
        too few: a few times what was made already are right if they end soon.
        """
        if self.alone:
            return 1
        bold = _GROWTH * made if _GROWTH * made * self.each < 0.3 * _LIMIT else 0
        expected = int(_SHARE * _SECONDS / max(self.each, 1e-7))
        least = min(_LEAST // 4, int(_SHARE * _LIMIT / self.each))
        return max(self.most, min(_ROUND_CALLS, self.wanted - made, max(expected, bold, least)))

    def _call_again(self, count: int, *, settle: bool) -> None:
        """One round of so many calls. Raises ``Rejected``."""
        with blamed("while it was called again and again"):
            session = self.session
            if settle:
                session.ask_candidate({"op": "rounds_stage"})
            session.worker.freeze()
            session.ask_oracle({"op": "fresh_write", "seeds": [session.new_seed() for _ in range(self.most)]})
            self.known = set()
            sets = [*range(self.most), *(self.rng.randrange(self.most) for _ in range(count - self.most))]
            self.rng.shuffle(sets)
            for k in range(0, count, self.batch):
                self._call(sets[k : k + self.batch], settle=settle, last=k + self.batch >= count)

    def _call(self, sets: Sequence[int], *, settle: bool, last: bool) -> None:
        """Calls of one round, as many as there is room for on the shelf; inputs are looked at after the last ones."""
        assert self.shelf is not None
        seconds, places = self._sample(self.session.worker, self.mine.name, sets, shelved=not settle)
        if not isinstance(places, list) or len(places) != len(sets):
            raise rejection("crash", "its answer is garbage")
        if not settle and any(places):
            raise rejection("unstable", "its results have another form when it is called again")
        if settle:  # it may go on after its answer, which lies where it chose
            self.pace = min(self.pace, seconds / len(sets))
            self._read(places, range(len(sets)))
            self._settle(places, range(len(sets)))
        odd = self._odd_ones(sets, self._room if settle else self.shelf)
        before = self.verified
        if odd or last:
            self._compare(odd, sets)
        self.calls += len(sets) - len(odd) + self.verified - before

    def _odd_ones(self, sets: Sequence[int], where: Arena) -> list[int]:
        """A call of each set, and those whose results differ from that one's: these are held against the oracle.

        They are copied while the candidate stands still, for it sees what is on the shelf.
        """
        odd = []
        for call in self.rng.sample(range(len(sets)), len(sets)):
            if sets[call] not in self.known:
                self._copy(where, call, self._models, sets[call])
                self.known.add(sets[call])
            else:
                self.repeated += 1
                if self._alike(where, call, sets[call]):
                    continue
                self.varied += 1
            if where is not self._room:
                self._copy(where, call, self._room, call)
            odd.append(call)
        return odd

    def _copy(self, where: Arena, call: int, to: Arena, place: int) -> None:
        for a, b in zip(self._of(call), self._of(place), strict=True):
            to.view(b)[:] = where.view(a)

    def _alike(self, where: Arena, call: int, model: int) -> bool:
        pairs = list(zip(self._of(call), self._of(model), strict=True))
        if all(where.same(a, self._models, b) for a, b in pairs):
            return True
        return all(same_bits(where.tensor(a), self._models.tensor(b)) for a, b in pairs)  # but for what lies between

    @property
    def _models(self) -> Arena:
        assert self.models is not None
        return self.models
