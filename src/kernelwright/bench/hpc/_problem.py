"""What a kernel is to the grader: its arguments, the cases to try, and whether what came out is right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ._roles import Role

Array = np.ndarray[Any, Any]
Case = dict[str, Any]  # the value of each role; arrays of numbers are float64, of indices int64


@dataclass(frozen=True)
class Variant:
    """What a signature leaves open: the order of matrices in memory, the first index, whether sizes count a halo."""

    layout: str = "C"
    base: int = 0
    halo: bool = False
    dtype: str = "float64"


@dataclass(frozen=True)
class Run:
    """One call: its case, what its array parameters hold afterwards, what it returned, and its rounding unit."""

    case: Case
    after: dict[str, Array]
    returned: Sequence[Array]
    unit: float
    bound: frozenset[str] = field(default_factory=frozenset)

    def some(self, places: Sequence[str], want: Array, bound: Array | float) -> str:
        """ "" where something returned or one of the ``places`` holds what is wanted; else the first difference."""
        return self.any_of(places, [want], bound)

    def any_of(self, places: Sequence[str], wants: Sequence[Array], bound: Array | float) -> str:
        """As :meth:`some`, where one of several results is wanted."""
        found = [r for r in self.returned if r.size == wants[0].size]
        found += [self.after[place] for place in places if place in self.after]
        said = [difference(got, want, bound) for got in found for want in wants]
        if not said:
            return "it neither returns nor writes a result"
        return "" if "" in said else said[0]

    def combined(self, place: str, product: Array, magnitude: Array, length: int) -> str:
        """Whether ``place`` (or what was returned) is α·product + β·place with the factors that it takes."""
        before = self.case[place]
        alpha = self.case["alpha"] if "alpha" in self.bound else 1.0
        beta = self.case["beta"] if "beta" in self.bound else 0.0
        bound = 4 * (length + 8) * self.unit * (abs(alpha) * magnitude + abs(before))
        wants = [alpha * product + beta * before]
        if "beta" not in self.bound:
            wants.append(alpha * product + before)
        return self.any_of((place,), wants, bound)


class Problem(ABC):
    """A kernel of the benchmark. ``needs``: sets of roles, one of which a function must take."""

    roles: ClassVar[tuple[Role, ...]]
    needs: ClassVar[tuple[set[str], ...]]
    constants: ClassVar[frozenset[str]] = frozenset()  # arguments that must not be changed
    layouts: ClassVar[tuple[str, ...]] = ("C",)
    bases: ClassVar[tuple[int, ...]] = (0,)
    halos: ClassVar[tuple[bool, ...]] = (False,)

    @abstractmethod
    def cases(self, rng: np.random.Generator, bound: frozenset[str]) -> Iterator[Case]:
        """Sizes and values to try, for a function that takes these roles; the last is the largest."""

    @abstractmethod
    def wrong(self, run: Run) -> str:
        """Why a result is wrong, "" if it is right."""

    def widths(self, case: Case) -> dict[str, int]:
        """Leading dimensions of matrices that lie column by column."""
        return {"lda": case["m"]} if "m" in case else {}

    def missing(self, bound: frozenset[str]) -> str:
        """What a function does not take although the kernel needs it."""
        if any(need <= bound for need in self.needs):
            return ""
        return f"it takes no {', '.join(sorted(self.needs[0] - bound))}"

    def arguments(self, case: Case, variant: Variant) -> Case:
        """The case as a function sees it that is written for this variant."""
        given = dict(case)
        if variant.layout == "F":
            given |= {name: width for name, width in self.widths(case).items() if name in case}
        for name in ("row_ptr", "col_idx"):
            if name in given:
                given[name] = given[name] + variant.base
        return given

    def judge(self, run: Run) -> str:
        """Why a run is wrong, "" if it is right."""
        for role in sorted(self.constants & self.bound_arrays(run)):
            if not np.array_equal(run.after[role], run.case[role].astype(run.after[role].dtype)):
                return f"it changes {role}"
        return self.wrong(run)

    def bound_arrays(self, run: Run) -> frozenset[str]:
        """Array arguments whose contents are known after the call."""
        return frozenset(run.after)


def difference(got: Array, want: Array, bound: Array | float) -> str:
    """Where two arrays differ by more than the bound, as part of a sentence; "" where they do not."""
    if got.size != want.size:
        return f"it gives {got.size} numbers where {want.size} are right"
    got = got.reshape(want.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        bad = ~(np.abs(got - want) <= bound)
    if not bad.any():
        return ""
    where = tuple(int(index) for index in np.argwhere(bad)[0])
    at = ", ".join(map(str, where))
    return f"element [{at}] is {got[where]:.6g} instead of {want[where]:.6g}"


__all__ = ["Array", "Case", "Problem", "Run", "Variant", "difference"]
