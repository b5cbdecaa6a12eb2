"""Can the task tell right from wrong? Candidates that do no work are held against its bounds before any that does.

Zeros, the constant that is the mean, means along each axis, the results for other inputs (all of these need not look at
the inputs) and the best affine map of an input. Where one of them passes, that law of inputs proves nothing and another
is tried, with other parameters and other values. An output that has passed on all laws without a look at the inputs
does not depend on them, and a task that has no other outputs cannot be scored. One that an affine map gives on all laws
is an affine map, and rightly so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import TaskError
from ..task import Task
from ._bounds import Expected, compare
from ._protocol import Message
from ._reference import same_bits, tensor_leaves
from ._sets import draw
from ._truth import RUN_SEED, Truth, Truths, is_memory

#: (structure, with other parameters?) in the order in which they are tried.
LAWS = (
    ("given", False), ("given", True), ("normal", False), ("normal", True), ("offset", False), ("sparse", False),
    ("heavy", False), ("large", False), ("sorted", False),
)  # fmt: skip
_SECONDS, _TIMES = 2.0, 12.0  # further laws are tried so long, or for so many times what the first one took
_NEAR = 64.0  # bounds: what is farther off is not looked at again
_GLANCE = 1 << 18  # elements that say in most cases what all would
_Answered = tuple[tuple[Any, ...], list[Tensor]]  # arguments, and what the reference answers
_AFFINE = "an affine map of input "


@dataclass
class _Output:
    """What is known about one output: ``telling``, the law on which nothing trivial passed, and what passed before."""

    telling: tuple[str, bool] | None = None
    passed: str = ""
    affine_only: bool = True


class Screen:
    """Attacks one task. ``given`` and ``examined``: arguments of its own law whose truth is known."""

    def __init__(self, task: Task, truths: Truths, given: tuple[Any, ...], examined: Truth) -> None:
        self.task, self.truths, self.given, self.examined = task, truths, given, examined
        self.outputs = [_Output() for _ in range(examined.returned)]

    def run(self, seed: int) -> Message:
        """``unscored``: why the task cannot be scored, or ""; ``telling``: the laws on which it must be judged."""
        start = time.perf_counter()
        limit = 0.0
        for number, (structure, other) in enumerate(LAWS):
            if all(output.telling for output in self.outputs):
                break
            if limit and time.perf_counter() - start > limit:
                break
            self._attack(structure, other, seed + 2 * number)
            limit = limit or max(_SECONDS, _TIMES * (time.perf_counter() - start))
        telling = {output.telling for output in self.outputs if output.telling}
        # An affine map that is right on every law is what the task asks for.
        fooled = [o for o in self.outputs if o.telling is None and not o.affine_only]
        whole = bool(fooled) and len(fooled) == len(self.outputs)
        reason = f"{fooled[0].passed} passes for the result on every law of inputs" if whole else ""
        return {"unscored": reason, "telling": [list(law) for law in telling]}

    def _attack(self, structure: str, other: bool, seed: int) -> None:
        pair = self._pair(structure, other, seed)
        if pair is None:
            return
        truth, another = pair
        for k, output in enumerate(self.outputs):
            if output.telling is not None:
                continue
            passed = self._first_to_pass(truth, k, another)
            if passed:
                output.passed = passed
                output.affine_only &= passed.startswith(_AFFINE)
            elif _compares(truth.expected[k]):
                output.telling = (structure, other)

    def _pair(
        self, structure: str, other: bool, seed: int
    ) -> tuple[Truth, tuple[tuple[Any, ...], list[Tensor]]] | None:
        """The truth about one set, and another set of the same law with what the reference answers to it."""
        runner = self.truths.runner
        try:
            runner.use_state(0)
            args = self.given if structure == "given" else draw(self.task, runner.reference, seed, structure)
            more = draw(self.task, runner.reference, seed + 1, structure)
            runner.use_state(seed if other else 0, self.given)
            truth = self.examined if structure == "given" and not other else self.truths.find(args)
            answer = runner.eager(more, RUN_SEED)
        except TaskError:
            return None
        except Exception as error:  # the user's code, out of its domain
            if is_memory(error):
                raise
            return None
        if len(answer.tensors) != len(truth.eager.tensors):
            return None
        return truth, (more, answer.tensors)

    def _first_to_pass(self, truth: Truth, k: int, another: _Answered) -> str:
        for name, got in _trivial(truth, k, another):
            if self._passes(truth, k, got):
                return name
        return ""

    def _passes(self, truth: Truth, k: int, got: Tensor) -> bool:
        expected = truth.expected[k]
        glance = compare(_part(expected), _real_part(got))
        if glance.category and not glance.error <= _NEAR:
            return False
        return not self.truths.compare(truth, k, got).category


def _compares(expected: Expected) -> bool:
    """Is there anything in the output that a candidate could get wrong?"""
    return expected.value.numel() > 0 and not (expected.free is not None and bool(expected.free.all()))


def _trivial(truth: Truth, k: int, another: _Answered) -> Iterator[tuple[str, Tensor]]:
    """Outputs in shape and dtype of the right one, each made without the work."""
    like, (more, answers) = truth.eager.tensors[k], another
    yield "zero", torch.zeros_like(like)
    theirs = answers[k]
    if like.shape != theirs.shape or like.numel() == 0:
        return
    mine = tensor_leaves(truth.args)
    if all(same_bits(a, b) for a, b in zip(mine, tensor_leaves(more), strict=True)):
        return  # the same inputs: nothing that is known of the one set is news of the other
    if like.is_floating_point():
        yield from _means(like, theirs)
    elif not like.is_complex():
        common = theirs.reshape(-1).mode().values
        yield "a constant", common.expand(like.shape).clone()
    yield "the result for other inputs", theirs.clone()
    if like.is_floating_point():
        yield from _affine(like, theirs, mine, tensor_leaves(more))


def _means(like: Tensor, theirs: Tensor) -> Iterator[tuple[str, Tensor]]:
    exact = theirs.double()
    yield "a constant", exact.mean().expand(like.shape).to(like.dtype)
    for d in range(like.dim()):
        if 1 < like.shape[d] < like.numel():
            yield f"a mean along axis {d}", exact.mean(d, keepdim=True).expand(like.shape).to(like.dtype)


def _affine(
    like: Tensor, theirs: Tensor, mine: list[Tensor], their_inputs: list[Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Least squares on the other set, used on this one."""
    y = theirs.double().reshape(-1)
    for i, (x, their_x) in enumerate(zip(mine, their_inputs, strict=True)):
        if x.shape != like.shape or not x.is_floating_point():
            continue
        z = their_x.double().reshape(-1)
        centred = z - z.mean()
        slope = (centred @ (y - y.mean())) / (centred @ centred)
        yield f"{_AFFINE}{i}", (slope * (x.double() - z.mean()) + y.mean()).to(like.dtype)


def _part(expected: Expected) -> Expected:
    """The first rows of a large output."""
    value = expected.value
    if value.numel() <= _GLANCE or value.dim() == 0:
        return expected
    rows = max(1, _GLANCE * value.shape[0] // value.numel())
    parts = [t if t is None else t[:rows] for t in (value, expected.eager, expected.bound, expected.free)]
    assert parts[0] is not None
    assert parts[1] is not None
    return replace(expected, value=parts[0], eager=parts[1], bound=parts[2], free=parts[3])


def _real_part(got: Tensor) -> Tensor:
    if got.is_complex():
        got = torch.view_as_real(got)
    if got.numel() <= _GLANCE or got.dim() == 0:
        return got
    return got[: max(1, _GLANCE * got.shape[0] // got.numel())]
