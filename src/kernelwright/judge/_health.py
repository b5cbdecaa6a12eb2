"""Can a reference serve as one? It must run, fit, agree with itself and return numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from ..errors import ReferenceFailed, ReferenceNondeterministic, ReferenceTooLarge
from ..task import Cost, measured_cost
from ._bounds import compare, expect
from ._reference import Answer, same_bits, tensor_leaves
from ._truth import RUN_SEED, Truth, Truths, is_memory

_REORDERED = 64.0  # rounding bounds by which two runs of a deterministic reference may differ (atomics, threads)


@dataclass(frozen=True)
class Health:
    """What examining a reference found: the truth of the examined arguments, an ordinary answer, seconds and work.

    ``oracle``: what a verdict should say about the truth's digits, if anything.
    """

    truth: Truth
    answer: Answer
    eager_seconds: float
    exact_seconds: float
    cost: Cost
    oracle: str


def examine(truths: Truths, args: tuple[Any, ...], memory_limit: int) -> Health:
    """Run it a few times. Raises the ``TaskError`` that says what is wrong with it."""
    runner, name = truths.runner, truths.name
    inputs, state = size_of(tensor_leaves(args)), size_of(list(runner.reference.state.values()))
    _room_for(name, 3 * inputs, "inputs", memory_limit)  # themselves, and in float64
    first = _discover(truths, args)
    _room_for(name, 3 * inputs + 8 * size_of(first.tensors) + 4 * state, "inputs and outputs", memory_limit)
    start = time.perf_counter()
    again = runner.eager(args, RUN_SEED)
    eager_seconds = time.perf_counter() - start
    start = time.perf_counter()
    truth = truths.find(args, measure_length=True)
    exact_seconds = time.perf_counter() - start
    other, cost = _count(truths, args)
    _check_answers(truths, truth, first, again, other)
    finite = all(bool(t.isfinite().all()) for t in tensor_leaves(args) if t.is_floating_point())
    bad = [k for k, t in enumerate(first.tensors) if t.is_floating_point() and bool(t.isnan().any())]
    if finite and bad:
        raise ReferenceFailed(f"The reference of {name} returns NaN for its own, finite inputs (output {bad[0]}).")
    oracle, exact_seconds = truths.sharpen(truth, exact_seconds)
    return Health(truth, again, eager_seconds, exact_seconds, cost, oracle)


def _discover(truths: Truths, args: tuple[Any, ...]) -> Answer:
    try:
        answer = truths.runner.discover(args, RUN_SEED)
    except Exception as error:
        if is_memory(error):
            raise
        text = " ".join(str(error).split())[:300]
        raise ReferenceFailed(
            f"The reference of {truths.name} raises {type(error).__name__} on its own inputs: {text}"
        ) from error
    if not answer.tensors:
        raise ReferenceFailed(f"The reference of {truths.name} returns no tensor, so there is nothing to compare.")
    return answer


def _count(truths: Truths, args: tuple[Any, ...]) -> tuple[Answer, Cost]:
    """A run with another seed, under a counter of its work."""
    found: list[Answer] = []

    def call() -> list[torch.Tensor]:
        found.append(truths.runner.eager(args, RUN_SEED + 1))
        return found[0].tensors

    cost = measured_cost(call, tensor_leaves(args), list(truths.runner.reference.state.values()))
    return found[0], cost


def _check_answers(truths: Truths, truth: Truth, first: Answer, again: Answer, other: Answer) -> None:
    for run, why in ((again, "on the same inputs"), (first, "on the same inputs"), (other, "with another seed")):
        same = [(t.shape, t.dtype) for t in run.tensors] == [(t.shape, t.dtype) for t in truth.eager.tensors]
        pairs = zip(truth.eager.tensors, run.tensors, strict=True) if same else ()
        if not same or any(_differ(a, b, truths.length) for a, b in pairs):
            raise ReferenceNondeterministic(
                f"Two runs of the reference of {truths.name} {why} disagree; "
                "remove the randomness (for dropout: .eval())."
            )


def _differ(one: torch.Tensor, other: torch.Tensor, length: int) -> bool:
    """By more than the order of a few sums? Judged by rounding alone: randomness would widen the oracle's bound."""
    if same_bits(one, other):
        return False
    return compare(expect(one, one, [], length), other).error > _REORDERED


def _room_for(name: str, need: int, what: str, memory_limit: int) -> None:
    have = min(psutil.virtual_memory().available, memory_limit)
    if need > have:
        raise ReferenceTooLarge(
            f"Judging {name} needs about {need >> 20} MiB for its {what}, "
            f"but {have >> 20} MiB are free; use smaller inputs (--scale cpu)."
        )


def size_of(tensors: list[torch.Tensor]) -> int:
    """Bytes of their elements."""
    return sum(t.numel() * t.element_size() for t in tensors)
