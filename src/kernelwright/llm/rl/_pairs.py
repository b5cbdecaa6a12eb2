"""Pairs to learn from: PyTorch modules and programs that compute the same, made by a compiler and verified by running.

A compiler's output teaches what is right, an instruction what was asked. Which compiler is the caller's to say:
anything that turns a module and example inputs into a candidate of the Triton target is a translator. Inductor writes
Triton for a GPU alone; where there is none it writes C++, which is not Triton.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import KernelwrightError, ModelError, Unsupported
from ...targets import AtenCall, Candidate, Plan, TensorSpec
from ._box import Box
from ._reward import ExecutionReward, Outcome, RewardTask
from ._rules import RuleReport, TritonRules

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

Translator = Callable[["nn.Module", "tuple[Tensor, ...]"], Candidate]


@dataclass(frozen=True)
class Collected:
    """A module that runs: built with ``arguments``, called with tensors of these ``shapes``."""

    name: str
    module: nn.Module
    shapes: tuple[tuple[int, ...], ...]
    arguments: str = ""

    def draw(self, generator: Generator, trial: int) -> tuple[Tensor, ...]:
        """Inputs, then parameters and buffers: a program takes all it reads as tensors."""
        import torch

        drawn = tuple(torch.randn(shape, generator=generator) for shape in self.shapes)
        return (*drawn, *(t.detach() for t in _state(self.module).values()))

    def __call__(self, *tensors: Tensor) -> Any:
        """The module as a function of inputs, parameters and buffers."""
        import torch

        count = len(self.shapes)
        held = dict(zip(_state(self.module), tensors[count:], strict=True))
        return torch.func.functional_call(self.module, held, tensors[:count])


@dataclass(frozen=True)
class Pair:
    """An instruction and a program; ``report`` and ``outcome`` are what verifying it found."""

    name: str
    instruction: str
    program: str
    report: RuleReport
    outcome: Outcome

    @property
    def verified(self) -> bool:
        """Whether it may be learnt from."""
        return self.report.ok and self.outcome.right


def collect_modules(package: str = "torch.nn") -> Iterator[Collected]:
    """The layers of a package that can be built and run on small inputs; dropout and the like stay out.

    Small integers and shapes are tried in turn: what none of them suits is left out.
    """
    import importlib

    from torch import nn

    found = importlib.import_module(package)
    for name in sorted(getattr(found, "__all__", dir(found))):
        kind = getattr(found, name, None)
        if isinstance(kind, type) and issubclass(kind, nn.Module) and kind is not nn.Module:
            with warnings.catch_warnings():  # of guessed arguments
                warnings.simplefilter("ignore")
                collected = _first_that_runs(name, kind)
            if collected is not None:
                yield collected


_ARGUMENTS: tuple[tuple[Any, ...], ...] = ((), (6,), (6, 5), (3,), (1, 3), (6, 5, 3), (2, 6))
_SHAPES: tuple[tuple[int, ...], ...] = ((4, 6), (2, 6, 5), (2, 6, 5, 5), (2, 6, 3, 4, 4))


def _first_that_runs(name: str, kind: type[nn.Module]) -> Collected | None:
    """One tensor, else two of the same shape."""
    import torch

    for arguments in _ARGUMENTS:
        try:
            torch.manual_seed(0)
            module = kind(*arguments).eval()
        except Exception:  # whatever a stranger's constructor says of guessed arguments
            continue
        for shapes in (*((s,) for s in _SHAPES), *((s, s) for s in _SHAPES)):
            made = Collected(name, module, shapes, ", ".join(map(str, arguments)))
            if _runs(made):
                return made
    return None


def _runs(made: Collected) -> bool:
    import torch

    try:
        inputs = made.draw(torch.Generator().manual_seed(0), 0)
        with torch.no_grad():
            first, second = made(*inputs), made(*inputs)
        tensor = isinstance(first, torch.Tensor) and first.is_floating_point() and first.numel() > 0
        return tensor and bool(first.isfinite().all()) and torch.equal(first, second) and not _same(first, inputs[0])
    except Exception:  # guessed inputs
        return False


def _same(result: Tensor, given: Tensor) -> bool:
    """A layer that hands on what it was given teaches nothing."""
    import torch

    return result.shape == given.shape and torch.equal(result, given)


def make_pair(made: Collected, translate: Translator, box: Box) -> Pair | str:
    """Translate a module and verify the program; a sentence where there is no program to verify."""
    import torch

    inputs = made.draw(torch.Generator().manual_seed(1), 1)[: len(made.shapes)]
    try:
        candidate = translate(made.module, inputs)
        program = as_program(candidate, tuple(_state(made.module)))
    except KernelwrightError as error:
        return f"{made.name}: {error}"
    task = RewardTask(made.name, instruction(made), made, made.draw)
    return verify_pair(task, program, box)


def verify_pair(task: RewardTask, program: str, box: Box) -> Pair:
    """Read and run a program against its reference. Raises ``WallsMissing``."""
    report = TritonRules().check(program, task.entry)
    outcome = ExecutionReward(task, atol=1e-4, rtol=1e-3, timeout_s=30.0, box=box)(program)
    return Pair(task.name, task.instruction, program, report, outcome)


def instruction(made: Collected) -> str:
    """What is asked for, in words: layer, arguments, shapes, and the order of a program's parameters."""
    shapes = ", ".join("x".join(map(str, shape)) for shape in made.shapes)
    held = _state(made.module)
    after = f", then {', '.join(held)}" if held else ""
    first = (inspect.getdoc(type(made.module)) or "").partition("\n\n")[0].replace("\n", " ")
    return (
        f"Write a Triton program with a function run that computes torch.nn.{made.name}({made.arguments}) of float32 "
        f"tensors of shape {shapes}. It takes these{after}, and returns a new tensor. {first}"
    ).strip()


def make_sft_example(pair: Pair) -> dict[str, str]:
    """A row for ``trl.SFTTrainer``: prompt and completion. Raises ``ModelError`` for a pair that is not verified."""
    if not pair.verified:
        raise ModelError(f"The pair {pair.name} is not verified; only what is right may be learnt from.")
    return {"prompt": pair.instruction + "\n", "completion": f"```python\n{pair.program}```\n"}


def as_program(candidate: Candidate, state: Sequence[str]) -> str:
    """A candidate of the Triton target as a text of its own: its module, and ``run`` that allocates and launches.

    ``state`` names parameters and buffers in the order in which ``run`` takes them after its inputs. Raises
    ``Unsupported`` where parts of the work are ATen calls, or the plan needs what a plain text has not.
    """
    plan = candidate.plan
    if plan is None or not candidate.source or candidate.target != "triton":
        raise Unsupported("there is no kernel in it.")
    if any(isinstance(step, AtenCall) for step in plan.steps):
        raise Unsupported("a part of it stays an ATen call.")
    if plan.literals or plan.symbols or plan.mutations or plan.treespec:
        raise Unsupported("its plan needs tables, sizes of the call, changed state or more than one result.")
    return candidate.source + "\n\n" + "\n".join(_run_lines(plan, state)) + "\n"


def _run_lines(plan: Plan, state: Sequence[str]) -> list[str]:
    count = 1 + max((int(i.source[1]) for i in plan.inputs if i.source[0] == "arg"), default=-1)
    place: dict[tuple[str, int | str], str] = {("arg", k): f"input{k}" for k in range(count)}
    place |= {("state", name): f"state{k}" for k, name in enumerate(state)}
    names = {each.spec.name: place[each.source] for each in plan.inputs}
    lines = [f"def run({', '.join(place.values())}):"]
    lines += [f"    {buffer.name} = {_allocation(buffer)}" for buffer in plan.buffers]
    if plan.workspace:
        lines.append(f"    workspace = torch.empty({plan.workspace}, dtype=torch.uint8)")
    for step in plan.steps:
        assert not isinstance(step, AtenCall)
        lines.append(f"    {step.entry}({', '.join(names.get(a, a) for a in step.args)})")
    (result,) = plan.results
    return ["import torch", "", "", *lines, f"    return {result}"]


def _allocation(buffer: TensorSpec) -> str:
    shape, strides = (", ".join(map(str, numbers)) for numbers in (buffer.shape, buffer.strides))
    return f"torch.empty_strided([{shape}], [{strides}], dtype=torch.{buffer.dtype})"


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def inductor_source(module: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """What Inductor writes for a module: Triton where the inputs lie on a GPU, C++ where they do not."""
    import torch
    from torch._inductor.utils import run_and_get_code

    with torch.no_grad():
        _, texts = run_and_get_code(torch.compile(module), *inputs)
    return "\n".join(texts)


__all__ = [
    "Collected",
    "Pair",
    "Translator",
    "as_program",
    "collect_modules",
    "inductor_source",
    "instruction",
    "make_pair",
    "make_sft_example",
    "verify_pair",
]
