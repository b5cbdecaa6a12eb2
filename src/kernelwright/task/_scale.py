"""``--scale cpu``: smaller leading (batch-like) sizes, never reduction lengths, so that a task fits this machine.

A size may shrink when the reference, run on fake tensors at two smaller values, still accepts its inputs, changes its
output in exactly the dimensions that had that size, keeps its parameters, and reduces, scans, sorts or normalises over
the same lengths as before. Leading sizes come first (all tensors that share one together); then the second dimension of
matrices, and of sequences whose leading dimension is time. Convolutions' and batch norm's batch counts as a batch.

The smaller inputs come from the source itself, by patching the integer constant that decides the size (``batch_size``),
or else the place in ``get_inputs`` where it stands; where neither works, inputs are drawn in full and narrowed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kernelwright.machine import Peaks, describe, peaks
from kernelwright.task._probe import Probe, Shapes, input_shapes, knobs, probe
from kernelwright.task._task import DynamicSize, Task

_SECONDS = 0.2  # an eager run should take at most about this
_MEMORY_SHARE = 1 / 8  # of the machine: the judge holds float64 twins, several input sets and a candidate's outputs too
_COMPUTE_EFFICIENCY = 0.3  # of peak FLOP/s that eager reaches on an ordinary operator
_BANDWIDTH_EFFICIENCY = 0.2  # most of eager's traffic to large tensors goes through pages touched for the first time
_STEP_SECONDS = 5e-6  # dispatch of one operator
_FLOORS = (16, 2)  # go on to another dimension before making one tiny
_MOST_SUBSETS = 40
_WORTH = 0.9  # a size is made smaller only where that leaves at most this share of the excess

Slot = tuple[int, int]  # (tensor argument, dimension)
Patches = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Limits:
    """What a shrunk task must stay under: seconds of an eager run, bytes alive at once; the machine's peaks."""

    seconds: float
    memory: float
    peaks: Peaks

    def estimate(self, run: Probe) -> float:
        """Conservative seconds of one eager run."""
        compute = run.flops / (_COMPUTE_EFFICIENCY * self.peaks.fp32)
        traffic = run.traffic / (_BANDWIDTH_EFFICIENCY * self.peaks.copy * 1e9)
        return compute + traffic + run.steps * _STEP_SECONDS

    def excess(self, run: Probe) -> float:
        """How many times over the limits a run is (<= 1 fits)."""
        return max(self.estimate(run) / self.seconds, run.memory / self.memory)


def shrink(task: Task, *, seconds: float = _SECONDS, memory: float | None = None) -> Task:
    """The task with leading sizes small enough for this machine, recorded in ``shrunk``; itself when it fits already.

    ``seconds`` bounds an eager run's estimated time, ``memory`` the bytes alive at once (default: an eighth of the
    machine). What cannot shrink without touching a reduction length stays as it is, as does a task that fake tensors
    cannot run. Executes the task's code on fake tensors.
    """
    limits = Limits(seconds, memory or describe().memory * _MEMORY_SHARE, peaks())
    return _Shrinker(task, limits).run()


class _Shrinker:
    """Shrinks one group of sizes after the other until the task fits."""

    def __init__(self, task: Task, limits: Limits) -> None:
        self.task = task
        self.limits = limits
        self.knobs: dict[str, tuple[int, frozenset[Slot]]] | None = None
        self.kept: Shapes = ()  # shapes of the inputs as last accepted

    def run(self) -> Task:
        original = probe(self.task)
        if original is None or self.limits.excess(original) <= 1:
            return self.task
        task, now = self.task, original
        self.kept = now.inputs
        for floor in _FLOORS:
            for group in self._groups(original):
                task, now = self._shrink_group(task, now, original, group, floor)
                self.kept = now.inputs
                if self.limits.excess(now) <= 1:
                    return task
        return task

    def _groups(self, original: Probe) -> Iterator[frozenset[Slot]]:
        """Sets of sizes to shrink together, leading ones first; those of one size that were shrunk are skipped."""
        for dim in (0, 1):
            slots = [(i, dim) for i, shape in enumerate(original.inputs) if len(shape) > dim]
            if dim == 1:  # matrices; and sequences whose leading dimension could not shrink
                kept = self.kept
                slots = [s for s in slots if len(kept[s[0]]) == 2 or kept[s[0]][0] == original.inputs[s[0]][0]]
            for size in sorted({original.inputs[i][dim] for i, _ in slots}, reverse=True):
                same = [s for s in slots if original.inputs[s[0]][dim] == size]
                yield from itertools.islice(_subsets(same), _MOST_SUBSETS)

    def _shrink_group(
        self, task: Task, now: Probe, original: Probe, group: frozenset[Slot], floor: int
    ) -> tuple[Task, Probe]:
        sizes = {now.inputs[i][dim] for i, dim in group}
        old = {original.inputs[i][dim] for i, dim in group}
        if len(sizes) != 1 or len(old) != 1 or max(sizes) <= floor:
            return task, now
        size, old_size = sizes.pop(), old.pop()
        if all(dim == 0 and len(now.inputs[i]) > 2 for i, dim in group):
            floor = min(_FLOORS)  # a batch of images or sequences may become tiny at once
        for make in self._ways(task, group, old_size):
            if not _is_batch_like(make, now, group, size):
                continue
            return self._smallest_need(make, task, now, size, floor)
        return task, now

    def _smallest_need(self, make: _Way, task: Task, now: Probe, size: int, floor: int) -> tuple[Task, Probe]:
        """The largest size under the limits (a power of two if the old one was), at least ``floor``."""
        new = _rounded(int(size / self.limits.excess(now)), size, floor)
        while True:
            smaller = make.at(new)
            run = probe(smaller)
            if run is None:  # this very size is refused (e.g. it must divide something): leave it
                return task, now
            excess = self.limits.excess(run)
            if excess > _WORTH * self.limits.excess(now):
                return task, now  # the work is elsewhere: a smaller size would not make it faster
            task, now = smaller, run
            if new <= floor or excess <= 1:
                return task, now
            new = max(floor, min(new // 2, _rounded(int(new / excess), size, floor)))

    def _ways(self, task: Task, group: frozenset[Slot], old: int) -> Iterator[_Way]:
        """Ways to make the group's size smaller: module constants, places in get_inputs, narrowing."""
        effects = self._effects()
        for inside in (False, True):
            names = [k for k, (value, _) in effects.items() if ("#" in k) == inside and value == old]
            chosen, covered = [], frozenset[Slot]()
            for name in names:
                slots = effects[name][1]
                if slots <= group and not slots <= covered:
                    chosen.append(name)
                    covered |= slots
            if covered == group:
                yield _Way(task, group, old, tuple(chosen))
        yield _Way(task, group, old, ())

    def _effects(self) -> dict[str, tuple[int, frozenset[Slot]]]:
        """What each constant of the text decides: its value, and the input sizes that follow it one to one."""
        if self.knobs is None:
            base = input_shapes(self.task)
            self.knobs = {}
            for name, value in knobs(self.task).items() if base is not None else ():
                half = max(2, value // 2)
                changed = input_shapes(replace(self.task, patches=(*self.task.patches, (name, half))))
                slots = _followed(base or (), changed, value, half)
                if slots:
                    self.knobs[name] = (value, slots)
        return self.knobs


@dataclass(frozen=True)
class _Way:
    """How to give a group of sizes another value: by patching ``knobs``, or by narrowing when there are none."""

    task: Task
    group: frozenset[Slot]
    old: int
    knobs: tuple[str, ...]

    def at(self, new: int) -> Task:
        kept = [p for p in self.task.patches if p[0] not in self.knobs]
        before = [s for s in self.task.shrunk if (s[0], s[1]) not in self.group]
        return replace(
            self.task,
            patches=(*kept, *((k, new) for k in self.knobs)),
            shrunk=tuple(sorted([*before, *((i, dim, self.old, new) for i, dim in self.group)])),
            dynamic=tuple(self._box(d, new) for d in self.task.dynamic),
        )

    def _box(self, size: DynamicSize, new: int) -> DynamicSize:
        """A dynamic size's box, scaled so that it holds the new size."""
        if (size.arg, size.dim) not in self.group:
            return size
        return replace(size, lo=min(size.lo, new), hi=max(new, size.hi * new // self.old))


def _is_batch_like(way: _Way, now: Probe, group: frozenset[Slot], size: int) -> bool:
    """True when the reference treats the group's size as a batch at two smaller values."""
    trials = sorted({max(2, size // 2), max(2, size // 4)} - {size}, reverse=True)
    return bool(trials) and all(_consistent(now, probe(way.at(t)), group, size, t) for t in trials)


def _consistent(now: Probe, run: Probe | None, group: frozenset[Slot], size: int, new: int) -> bool:
    if run is None or run.parameters != now.parameters or run.reduced != now.reduced:
        return False
    wanted = tuple(
        tuple(new if (i, d) in group else s for d, s in enumerate(shape)) for i, shape in enumerate(now.inputs)
    )
    if run.inputs != wanted or [len(o) for o in run.outputs] != [len(o) for o in now.outputs]:
        return False
    pairs = [(a, b) for x, y in zip(now.outputs, run.outputs, strict=True) for a, b in zip(x, y, strict=True)]
    follows = [a != b for a, b in pairs]
    return any(follows) and all(a * new == b * size for a, b in pairs if a != b)


def _followed(base: Shapes, changed: Shapes | None, value: int, new: int) -> frozenset[Slot]:
    """Slots that went from ``value`` to ``new``; none when anything changed otherwise."""
    if changed is None or [len(s) for s in changed] != [len(s) for s in base]:
        return frozenset()
    differing = {
        (i, d): (a, b)
        for i, (x, y) in enumerate(zip(base, changed, strict=True))
        for d, (a, b) in enumerate(zip(x, y, strict=True))
        if a != b
    }
    return frozenset(differing) if set(differing.values()) <= {(value, new)} else frozenset()


def _subsets(slots: list[Slot]) -> Iterator[frozenset[Slot]]:
    """Non-empty subsets, the largest first."""
    for count in range(len(slots), 0, -1):
        yield from map(frozenset, itertools.combinations(slots, count))


def _rounded(new: int, size: int, floor: int) -> int:
    new = max(floor, min(new, size - 1))
    return 1 << (new.bit_length() - 1) if size & (size - 1) == 0 else new
