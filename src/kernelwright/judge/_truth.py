"""What a set of arguments must give, and how far a candidate may be from it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ..errors import ReferenceFailed
from ._agree import agreement
from ._bounds import Comparison, Expected, amplitude, compare, exceeds, expect, widen
from ._reference import Answer, ReductionLength, Runner, tensor_leaves

RUN_SEED = 7  # the random stream of every run of the reference; a deterministic one does not look at it
_LEAST_RUNS, _MOST_RUNS = 6, 16  # more runs before a value is called wrong
_DEEP_SECONDS = 4.0  # the least number is run even if it takes longer
_DOUBT = 1.0 / 16.0  # of a bound; where float64 itself may be off by more, more digits are asked
_WIDE_SECONDS = 0.3  # that a truth with more digits may take: a heavy task has fewer cases, which costs more trust
_LIKELY_LONGER = 20.0  # times float64's own seconds, at least
_HOPELESS = 1e5  # errors beyond so many bounds are no accident of the bound


@dataclass
class Truth:
    """What a set of arguments must give: returned tensors first, then changed state, then changed arguments.

    ``expected`` is empty until float64 is asked for (:meth:`Truths.settle`). ``state``: seed of the parameters it
    belongs to (0: the task's own). ``runs``: how many more runs of the reference have widened the bounds. ``gradients``
    names those of the returned tensors, the last ones, that are gradients.
    """

    args: tuple[Any, ...]
    expected: list[Expected]
    eager: Answer
    returned: int
    state: int = 0
    runs: int = 0
    gradients: tuple[str, ...] = ()

    def title(self, k: int) -> str:
        """What people call a returned tensor."""
        first = self.returned - len(self.gradients)
        return f"output {k}" if k < first else f"the gradient in {self.gradients[k - first]}"

    def is_gradient(self, k: int) -> bool:
        """Whether the k-th tensor is one."""
        return self.returned - len(self.gradients) <= k < self.returned

    @cached_property
    def ordinary(self) -> bool:
        """Whether all arguments and results are finite: of others, what a gradient is follows from no definition."""
        tensors = [*tensor_leaves(self.args), *self.eager.tensors[: self.returned - len(self.gradients)]]
        return all(bool(t.isfinite().all()) for t in tensors if t.is_floating_point())

    @property
    def bytes(self) -> int:
        """Memory that it holds."""
        held = [*tensor_leaves(self.args), *self.eager.tensors]
        for e in self.expected:
            held += [t for t in (e.value, e.bound, e.free) if t is not None]
        return sum(t.numel() * t.element_size() for t in held)


class Truths:
    """Finds truths about one reference. ``length``: the longest reduction of any operator in it."""

    def __init__(self, runner: Runner, name: str) -> None:
        self.runner, self.name = runner, name
        self.length = 1

    def find(self, args: tuple[Any, ...], *, measure_length: bool = False, later: bool = False) -> Truth:
        """One run as the user runs it and one in float64. Raises ``ReferenceFailed`` or whatever the reference does.

        ``later``: the one in float64 is made when a comparison asks for it, which many do not.
        """
        eager = self.runner.eager(args, RUN_SEED)
        extra = len(self.runner.pristine) + len(self.runner.changed_args)
        asked = self.runner.reference.gradients
        titles = asked.asked.titles if asked is not None else ()
        truth = Truth(args, [], eager, len(eager.tensors) - extra, self.runner.state.seed, gradients=titles)
        if measure_length:
            with ReductionLength() as watch:
                exact = self.runner.exact(args, RUN_SEED)
            self.length = watch.longest
            if watch.narrow and not self.runner.double_fault:
                self.runner.narrow = True
                exact = self.runner.exact(args, RUN_SEED)
            self._hold(truth, exact)
        elif not later:
            self._hold(truth, self.runner.exact(args, RUN_SEED))
        return truth

    def settle(self, truth: Truth) -> None:
        """Ask float64, if that was not done yet. Raises as :meth:`find`."""
        if not truth.expected:
            self.runner.use_state(truth.state)
            self._hold(truth, self.runner.exact(truth.args, RUN_SEED))

    def sharpen(self, truth: Truth, seconds: float) -> tuple[str, float]:
        """Find out whether float64 is exact enough to be the oracle, and from now on take more digits where it is not.

        ``seconds``: what this truth took in float64. Returns what a verdict should say about it, "" mostly, and the
        seconds that a truth takes from now on.
        """
        if self.runner.double_fault or seconds > _WIDE_SECONDS:
            return "", seconds
        moved = self.runner.exact(truth.args, RUN_SEED, amplitude(torch.float64, self.length), 1).tensors
        if len(moved) != len(truth.expected):
            return "", seconds
        if not any(exceeds(e, t, _DOUBT) for e, t in zip(truth.expected, moved, strict=True)):
            return "", seconds
        if seconds * _LIKELY_LONGER <= _WIDE_SECONDS:
            self.runner.wide, start = True, time.perf_counter()
            self._hold(truth, self.runner.exact(truth.args, RUN_SEED))
            took = time.perf_counter() - start
            self.runner.wide &= took <= _WIDE_SECONDS
            if self.runner.wide:
                return "The oracle has 106 bits: float64 alone could be off by a good part of a bound.", took
        return "Float64 itself could be off by a good part of a bound here; more digits would take too long.", seconds

    def _hold(self, truth: Truth, exact: Answer) -> None:
        if len(exact.tensors) != len(truth.eager.tensors):
            raise ReferenceFailed(f"The reference of {self.name} returns other outputs in float64.")
        pairs = zip(exact.tensors, truth.eager.tensors, strict=True)
        truth.expected = [expect(mine, its, [], self.length) for mine, its in pairs]

    def compare(self, truth: Truth, position: int, got: torch.Tensor) -> Comparison:
        """The verdict on one tensor; raises as :meth:`find`.

        Where float64 was not asked yet, agreement with the reference's own answer may do without. What passes the bound
        that the reference's own error gives needs no other. Before anything is called wrong the reference runs again
        and again, perturbed and rounded differently each time, and every run widens the bound to what is honest: a
        bound made from one run is itself a random variable and may not reject.
        """
        if truth.is_gradient(position) and not truth.ordinary:
            return Comparison(0.0, 0)
        if not truth.expected:
            agreed = agreement(truth.eager.tensors[position], got, self.length)
            if agreed is not None:
                return agreed
            self.settle(truth)
        result = compare(truth.expected[position], got)
        start = time.perf_counter()
        while result.category in ("value", "nan"):
            # A gradient jumps where its function has a kink: far off may be right on the other side.
            if _hopeless(result, truth.expected[position]) and not truth.is_gradient(position):
                break
            enough = truth.runs >= _LEAST_RUNS and time.perf_counter() - start > _DEEP_SECONDS
            if enough or truth.runs >= _MOST_RUNS:
                break
            if self._widen(truth):
                result = compare(truth.expected[position], got)
        return result

    def _widen(self, truth: Truth) -> bool:
        """One more run; False where it says nothing."""
        dtype = _least_precise(truth.eager)
        number = truth.runs
        truth.runs += 1
        self.runner.use_state(truth.state)
        try:
            if number % 2 and not self.runner.double_fault:
                arithmetic = torch.float64 if dtype == torch.float64 else torch.float32
                run = self.runner.rounded(truth.args, RUN_SEED, 1000 + number, arithmetic)
            else:
                run = self.runner.exact(truth.args, RUN_SEED, amplitude(dtype, self.length), 1000 + number)
        except Exception as error:  # the user's code, out of its domain or under a dispatch mode
            if is_memory(error):
                raise
            return False
        if len(run.tensors) != len(truth.expected):
            return False
        truth.expected = [widen(e, [t]) for e, t in zip(truth.expected, run.tensors, strict=True)]
        return True


def is_memory(error: BaseException) -> bool:
    """Did it run out of memory?"""
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "bad_alloc" in text


def _least_precise(answer: Answer) -> torch.dtype:
    return max((t.dtype for t in answer.tensors), key=lambda dtype: {torch.float64: 0}.get(dtype, 1))


def _hopeless(result: Comparison, expected: Expected) -> bool:
    return expected.bound is not None and math.isfinite(result.error) and result.error > _HOPELESS
