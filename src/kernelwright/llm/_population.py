"""Who may become a parent: islands that live apart for a while, each with room for few of a kind."""

from __future__ import annotations

from collections.abc import Sequence

from ._attempt import Attempt
from ._features import Features

_ROOM = 4  # attempts that an island keeps
_VISIT = 3  # rounds between two visits


class Population:
    """The accepted attempts worth building on. An island keeps the fastest of each feature set, and few in all."""

    def __init__(self, islands: int) -> None:
        self._islands: list[dict[Features, Attempt]] = [{} for _ in range(islands)]

    def add(self, attempt: Attempt) -> None:
        """Settle an accepted attempt on its island."""
        self._settle(self._islands[attempt.island], attempt)

    def visit(self, round_: int) -> None:
        """Every few rounds the fastest of each island comes to the next one."""
        if len(self._islands) == 1 or round_ % _VISIT != _VISIT - 1:
            return
        leaders = [min(island.values(), key=_cost, default=None) for island in self._islands]
        for number, leader in enumerate(leaders):
            if leader is not None:
                self._settle(self._islands[(number + 1) % len(self._islands)], leader)

    def parents(self, island: int) -> Sequence[Attempt]:
        """An island's attempts, the fastest first; those of all islands where it has none."""
        own = self._islands[island] or {k: a for other in self._islands for k, a in other.items()}
        return sorted(own.values(), key=_cost)

    @staticmethod
    def _settle(island: dict[Features, Attempt], attempt: Attempt) -> None:
        known = island.get(attempt.features)
        if known is None or attempt.cost < known.cost:
            island[attempt.features] = attempt
        if len(island) > _ROOM:
            del island[max(island, key=lambda features: island[features].cost)]


def _cost(attempt: Attempt) -> float:
    return attempt.cost
