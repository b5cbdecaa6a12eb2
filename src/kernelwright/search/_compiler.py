"""Our compiler as a proposer: it makes candidates, gets every result back and keeps no files of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..compiler import Kernel, Prepared, emit, prepare_captured
from ..compiler.group import Group
from ..compiler.program import Scan
from ..targets import Candidate
from ._families import FEW, Keep, families


@dataclass(frozen=True)
class _Choice:
    """What distinguishes one candidate: operations left to ATen, and schedules by kernel."""

    keep: Keep = frozenset()
    schedules: tuple[tuple[int, int], ...] = ()


class _Scheduled(Protocol):
    """What the generators of all targets have: statements that go together, and schedules, best guess first."""

    @property
    def group(self) -> Group: ...
    @property
    def schedules(self) -> Sequence[Any]: ...


class CompilerProposer:
    """Our compiler as a proposer: its best guess, then families left to ATen, then coordinate descent over schedules.

    One thing changes at a time; the best choice so far is the centre. Kernels that do most of the work come first and
    those that do next to none are left alone, so that a small budget goes to what takes the time.
    """

    fewest = FEW

    def __init__(self, prepared: Prepared, title: str, *, prefix: str = "") -> None:
        self.prepared = prepared
        self._title, self._prefix = title, prefix
        self._best = _Choice()
        self._best_cost = float("inf")
        self._choices: dict[str, _Choice] = {}
        self._variants: dict[Keep, Prepared] = {frozenset(): prepared}
        self._families = families(prepared, self.fewest)
        self._untried = [keep for _, keep in self._families]
        self._queue: list[tuple[int, int]] | None = None
        self._started = False

    @property
    def notes(self) -> Sequence[str]:
        return self.prepared.program.notes

    def propose(self, count: int) -> list[Candidate]:
        """At most ``count`` new candidates; an empty list when the space is exhausted."""
        if not self.prepared.lowered:
            return []
        if not self._started:
            self._started = True
            return [self._emit(_Choice())]
        while self._untried:  # one at a time: what comes of it decides the next
            found = self._keeping(self._best.keep ^ self._untried.pop(0))
            if found is not None:
                return [found]
        if self._queue is None:
            self._queue = _by_work(self._kernels(self._variant(self._best.keep)))
        candidates: list[Candidate] = []
        while self._queue and len(candidates) < count:
            number, position = self._queue.pop(0)
            schedules = {**dict(self._best.schedules), number: position}
            candidates.append(self._emit(replace(self._best, schedules=tuple(sorted(schedules.items())))))
        return candidates

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        """``cost`` is the time of an accepted candidate, None for a rejected one."""
        if cost is not None and cost < self._best_cost:
            self._best_cost = cost
            self._best = self._choice_of(candidate)

    def _keeping(self, keep: Keep) -> Candidate | None:
        """A new candidate with these operations left to ATen; None when it is known or there is nothing to generate."""
        if keep in self._variants or not self._variant(keep).lowered:
            return None
        return self._emit(_Choice(keep))

    def _variant(self, keep: Keep) -> Prepared:
        if keep not in self._variants:
            self._variants[keep] = prepare_captured(self.prepared.captured, keep)
        return self._variants[keep]

    def _choice_of(self, candidate: Candidate) -> _Choice:
        """The choice that makes a candidate, also one of an earlier search, whose label says it."""
        if candidate.digest not in self._choices:
            pairs = re.findall(r"/k(\d+)=(\d+)", candidate.label)
            schedules = {int(kernel): int(position) for kernel, position in pairs}
            choice = _Choice(self._kept(candidate.label), tuple(sorted(schedules.items())))
            kernels = self._kernels(self._variant(choice.keep))
            fits = all((k := kernels.get(n)) is not None and p < len(k.schedules) for n, p in choice.schedules)
            if not fits or self._emit(choice).digest != candidate.digest:
                return self._best
        return self._choices[candidate.digest]

    def _emit(self, choice: _Choice) -> Candidate:
        candidate = self._print(self._variant(choice.keep), dict(choice.schedules))
        if choice.keep:
            head, *tail = candidate.label.split("/")
            candidate = replace(candidate, label="/".join((head, f"aten={self._name(choice.keep)}", *tail)))
        self._choices[candidate.digest] = choice
        return candidate

    def _print(self, prepared: Prepared, schedules: dict[int, int]) -> Candidate:
        return emit(prepared, schedules, title=self._title, prefix=self._prefix)

    def _kernels(self, prepared: Prepared) -> Mapping[int, _Scheduled]:
        """Those that have schedules, by the number under which a choice names them."""
        return {n: kernel for n, kernel in enumerate(prepared.kernels) if isinstance(kernel, Kernel)}

    def _name(self, keep: Keep) -> str:
        """The families that a choice keeps, the fewest that cover it."""
        names: list[str] = []
        left = set(keep)
        for name, nodes in self._families:
            if nodes <= keep and nodes & left:
                names.append(name)
                left -= nodes
        return "+".join(names)

    def _kept(self, label: str) -> Keep:
        names = next((part[len("aten=") :].split("+") for part in label.split("/") if part.startswith("aten=")), [])
        return frozenset().union(*(nodes for name, nodes in self._families if name in names))


_NEGLIGIBLE = 0.05  # of the work of all kernels together


def _by_work(kernels: Mapping[int, _Scheduled]) -> list[tuple[int, int]]:
    """(kernel, schedule) pairs to try: every kernel's second choice before any kernel's third, the heaviest first."""
    work = {n: _work(k) for n, k in kernels.items()}
    heavy = {n: w for n, w in work.items() if w >= _NEGLIGIBLE * sum(work.values())}
    pairs = [
        (number, position)
        for number, kernel in kernels.items()
        if number in heavy
        for position in range(1, len(kernel.schedules))
    ]
    return sorted(pairs, key=lambda pair: (pair[1], -heavy[pair[0]]))


def _work(kernel: _Scheduled) -> float:
    """Points of the iteration spaces of a kernel's statements; sizes that vary count as one."""
    total = 0.0
    for statement in kernel.group.statements:
        axes = [*getattr(statement, "axes", ()), *getattr(statement, "raxes", ())]
        if isinstance(statement, Scan):
            axes.append(statement.scan)
        total += math.prod(axis.size for axis in axes if isinstance(axis.size, int))
    return total
