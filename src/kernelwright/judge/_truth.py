"""What a set of arguments must give, and how far a candidate may be from it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ReferenceFailed
from ._bounds import Comparison, Expected, amplitude, compare, expect, samples, widen
from ._reference import Answer, ReductionLength, Runner

RUN_SEED = 7  # the random stream of every run of the reference; a deterministic one does not look at it
_HEAVY_SECONDS = 3.0  # a float64 run that takes longer is not repeated on perturbed values
_DEEP_RUNS = 12  # more runs before a value is called wrong
_DEEP_SECONDS = 4.0
_HOPELESS = 1e4  # errors beyond so many bounds are no accident of the bound


@dataclass
class Truth:
    """What a set of arguments must give: returned tensors first, then changed state, then changed arguments.

    ``deep``: the bounds already rest on many runs of the reference, so that a rejection is no accident.
    """

    args: tuple[Any, ...]
    expected: list[Expected]
    eager: Answer
    returned: int
    deep: bool = False


class Truths:
    """Finds truths about one reference. ``length``: the longest reduction of any operator in it."""

    def __init__(self, runner: Runner, name: str) -> None:
        self.runner, self.name = runner, name
        self.length = 1

    def find(self, args: tuple[Any, ...], *, measure_length: bool = False) -> Truth:
        """Raises ``ReferenceFailed`` or whatever the reference raises."""
        eager = self.runner.eager(args, RUN_SEED)
        start = time.perf_counter()
        if measure_length:
            with ReductionLength() as watch:
                exact = self.runner.exact(args, RUN_SEED)
            self.length = watch.longest
            if watch.narrow and not self.runner.double_fault:
                self.runner.narrow = True
                exact = self.runner.exact(args, RUN_SEED)
        else:
            exact = self.runner.exact(args, RUN_SEED)
        if len(exact.tensors) != len(eager.tensors):
            raise ReferenceFailed(f"The reference of {self.name} returns other outputs in float64.")
        count = max((samples(t.numel()) for t in eager.tensors if t.numel()), default=0)
        if time.perf_counter() - start > _HEAVY_SECONDS:
            count = 1 if count > 1 else 0
        noise = amplitude(_least_precise(eager), self.length)
        runs = [self.runner.exact(args, RUN_SEED, noise, 1 + k).tensors for k in range(count)]
        expected = [
            expect(exact.tensors[k], eager.tensors[k], [run[k] for run in runs], self.length)
            for k in range(len(eager.tensors))
        ]
        extra = len(self.runner.pristine) + len(self.runner.changed_args)
        return Truth(args, expected, eager, len(eager.tensors) - extra)

    def compare(self, truth: Truth, position: int, got: torch.Tensor) -> Comparison:
        """The verdict on one tensor. A bound made from few runs is itself a random variable, so before it may reject,
        the reference runs more often, rounded differently each time."""
        result = compare(truth.expected[position], got)
        if result.category not in ("value", "nan") or truth.deep or _hopeless(result, truth.expected[position]):
            return result
        self._deepen(truth)
        return compare(truth.expected[position], got)

    def _deepen(self, truth: Truth) -> None:
        truth.deep = True
        dtype = _least_precise(truth.eager)
        noise, start = amplitude(dtype, self.length), time.perf_counter()
        for number in range(_DEEP_RUNS):
            if number >= 2 and time.perf_counter() - start > _DEEP_SECONDS:
                break
            try:
                if dtype != torch.float64 and number % 2 == 0 and not self.runner.double_fault:
                    run = self.runner.rounded(truth.args, RUN_SEED, 1000 + number)
                else:
                    run = self.runner.exact(truth.args, RUN_SEED, noise, 1000 + number)
            except Exception as error:  # the user's code under a dispatch mode: then what is known must do
                if is_memory(error):
                    raise
                continue
            if len(run.tensors) == len(truth.expected):
                truth.expected = [widen(e, [t]) for e, t in zip(truth.expected, run.tensors, strict=True)]


def is_memory(error: BaseException) -> bool:
    """Did it run out of memory?"""
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "bad_alloc" in text


def _least_precise(answer: Answer) -> torch.dtype:
    return max((t.dtype for t in answer.tensors), key=lambda dtype: {torch.float64: 0}.get(dtype, 1))


def _hopeless(result: Comparison, expected: Expected) -> bool:
    return expected.bound is not None and math.isfinite(result.error) and result.error > _HOPELESS
