"""Runs a task on fake tensors: its shapes, what it reduces over, what it would cost; nothing is allocated."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils import _pytree as pytree

from kernelwright.errors import TaskError
from kernelwright.task._cost import Trace, fake_mode, tensor_bytes, to_fake, to_fake_module, trace_call, unique
from kernelwright.task._load import bring_up, given_inputs
from kernelwright.task._patch import function_knobs, knob_value, module_knobs
from kernelwright.task._run import run_module
from kernelwright.task._task import Task

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Probe:
    """One fake run: shapes of tensor arguments, outputs and parameters, sizes reduced over in order, and the cost.

    ``memory``: bytes of inputs, state and everything alive at the worst moment; ``steps``: operators run.
    """

    inputs: Shapes
    outputs: Shapes
    parameters: Shapes
    reduced: tuple[tuple[int, ...], ...]
    flops: float
    traffic: float
    memory: float
    steps: int


def probe(task: Task) -> Probe | None:
    """Run the task once on fake tensors; None when it cannot run that way or its reference refuses the sizes."""
    try:
        with _quiet(), fake_mode() as mode:
            call, inputs = _materialise(task, mode)
            output, trace = trace_call(call, inputs)
            return _summary(call, inputs, output, trace)
    except Exception:  # the user's code and torch's fake kernels raise anything at all; each means "not this way"
        return None


def footprint(task: Task) -> float | None:
    """Bytes alive at the worst moment of an eager run (inputs and state included), found without allocating them.

    None when the task cannot run on fake tensors. Executes the task's code.
    """
    run = probe(task)
    return run.memory if run else None


def input_shapes(task: Task) -> Shapes | None:
    """Shapes of the tensor arguments alone; None when drawing them raises."""
    try:
        with _quiet(), fake_mode() as mode:
            _, base = bring_up(task, build=False)
            return _shapes(_fake_all(given_inputs(task, base), mode))
    except Exception:  # as above
        return None


def knobs(task: Task) -> dict[str, int]:
    """Integer constants of the text that may decide sizes, with their values; module-level ones first."""
    if task.kind == "pickled" or task.module:
        return {}
    tree = ast.parse(task.text)
    try:
        with _quiet(), fake_mode():
            names = vars(run_module(task))
    except TaskError:
        return {}
    found = {name: names.get(name) for name in module_knobs(tree)}
    for maker in (f"{task.attribute}_inputs", "get_inputs"):
        for knob in function_knobs(tree, maker):
            found[knob] = knob_value(tree, knob, names)
    return {name: value for name, value in found.items() if type(value) is int and value > 2}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A source runs many times here and many sizes are refused: neither its prints nor torch's logs of it are news."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.disabled = before


def _materialise(task: Task, mode: FakeTensorMode) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The reference and its inputs as fake tensors; a constructor that needs real values gets them."""
    try:
        if task.kind == "pickled":
            raise TaskError("unpickling makes real tensors")
        call, base = bring_up(task)
    except TaskError:
        with unset_fake_temporarily():
            call, base = bring_up(task)
        call = to_fake_module(call, mode)
        if task.kind != "pickled":  # draw the inputs small all the same
            _, base = bring_up(task, build=False)
    inputs = _fake_all(given_inputs(task, base, lambda tree: _fake_all(tree, mode)), mode)
    if isinstance(call, nn.Module) and task.dtype != "float32":
        call.to(getattr(torch, task.dtype))
    return call, inputs


def _fake_all(tree: Any, mode: FakeTensorMode) -> Any:
    return pytree.tree_map(lambda leaf: to_fake(leaf, mode), tree)


def _summary(call: Callable[..., Any], inputs: tuple[Any, ...], output: Any, trace: Trace) -> Probe:
    parameters = list(call.parameters()) if isinstance(call, nn.Module) else []
    held = unique([*_tensors(inputs), *parameters])
    return Probe(
        inputs=_shapes(inputs),
        outputs=_shapes(output),
        parameters=_shapes(parameters),
        reduced=tuple(step.reduced for step in trace.steps),
        flops=trace.flops,
        traffic=trace.traffic,
        memory=float(sum(map(tensor_bytes, held)) + trace.peak),
        steps=len(trace.steps),
    )


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _shapes(tree: Any) -> Shapes:
    return tuple(tuple(int(s) for s in t.shape) for t in _tensors(tree))
