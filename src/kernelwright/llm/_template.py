"""The author without a model: a walk over a space of choices in which every feature is a knob with a value.

A schedule space of our own compiler is such a space, and so is any table of recorded times.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from ..targets import Candidate
from ._attempt import Attempt, Context, Draft
from ._features import Features

Point = Mapping[str, object]


@dataclass(frozen=True)
class Space:
    """Knobs with their values, and what makes a candidate of a choice of one value each; None where there is none."""

    knobs: Mapping[str, Sequence[object]]
    make: Callable[[Point], Candidate | None]

    @property
    def size(self) -> int:
        """Choices there are."""
        total = 1
        for values in self.knobs.values():
            total *= len(values)
        return total


class TemplateProposer:
    """Writes the candidates of a space: some far apart to begin with, then other values of one knob, and mixtures.

    ``spread``: how many it begins with. ``strays``: choices from anywhere that are weighed beside the neighbours.
    """

    luck = 0.05  # the same choice is the same kernel, but effects are not quite additive

    def __init__(self, space: Space, *, spread: int = 5, strays: int = 32, seed: int = 0) -> None:
        self._space, self._random, self._strays = space, random.Random(seed), strays
        self._values = {_name(k, v): (k, v) for k, values in space.knobs.items() for v in values}
        self._beginnings = self._scatter(spread)

    def beginnings(self) -> Sequence[Features]:
        return self._beginnings

    def moves(self, parents: Sequence[Attempt]) -> Sequence[Features]:
        """One knob turned, two parents mixed, and a few from anywhere."""
        found = [self._random_choice() for _ in range(self._strays)]
        for parent in parents:
            point = self._point(parent.features)
            found += [self._features({**point, k: v}) for k, values in self._space.knobs.items() for v in values]
            for other in parents:
                found.append(self._mixed(point, self._point(other.features)))
        return found

    def write(self, context: Context) -> Draft:
        point = self._point(context.features)
        candidate = self._space.make(point)
        fault = "" if candidate is not None else "There is no such candidate."
        return Draft(candidate, context.features, fault)

    def _scatter(self, count: int) -> list[Features]:
        """Each value of each knob as often as any other (a Latin hypercube)."""
        columns = {}
        for knob, values in self._space.knobs.items():
            repeated = [values[k % len(values)] for k in range(count)]
            self._random.shuffle(repeated)
            columns[knob] = repeated
        return [self._features({knob: column[k] for knob, column in columns.items()}) for k in range(count)]

    def _random_choice(self) -> Features:
        return self._features({knob: self._random.choice(list(values)) for knob, values in self._space.knobs.items()})

    def _mixed(self, one: Point, other: Point) -> Features:
        return self._features({knob: self._random.choice((one[knob], other[knob])) for knob in self._space.knobs})

    def _features(self, point: Point) -> Features:
        """The value of each knob; of a number also on which side of the others it is, so that near ones are alike."""
        found = {_name(knob, value) for knob, value in point.items()}
        for knob, value in point.items():
            for other in self._space.knobs[knob]:
                if _is_number(value) and _is_number(other) and value != other:
                    found.add(f"{knob}{'>' if value > other else '<'}{other}")
        return frozenset(found)

    def _point(self, features: Features) -> dict[str, object]:
        return dict(self._values[feature] for feature in features if feature in self._values)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(knob: str, value: object) -> str:
    return f"{knob}={value}"
