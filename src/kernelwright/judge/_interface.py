"""The plan of a candidate that has one entry and no plan of its own, made from the task on fake tensors.

``main(arguments..., state..., outputs...)``: the call's tensors row-major and in order; parameters and buffers in the
order of ``state_dict()``, then those that it leaves out; outputs row-major, in memory that the caller owns.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import ReferenceFailed, TaskError
from ..targets import EntryCall, InputSpec, Plan, SymbolSpec, TensorSpec
from ..task import Reference, Task, load

ENTRY = "main"
_Sizes = Sequence[int | str]


@dataclass(frozen=True)
class _Run:
    """One run of the reference on fake tensors."""

    args: list[Tensor]
    constants: tuple[tuple[int, object], ...]
    results: list[Any]
    treespec: str | None
    state: Mapping[str, Tensor]


def interface(task: Task) -> Plan | None:
    """The plan by which the one entry of a submission is called. Executes the task's own code.

    None for a task with gradients, which one entry cannot give: whoever loads such a candidate says so.
    """
    reference = load(task)
    if reference.gradients is not None:
        return None
    run = _run(task, reference)
    symbols, names = _symbols(task, run)
    inputs = [InputSpec(("arg", k), _spec(f"x{k}", t, names)) for k, t in enumerate(run.args)]
    inputs += [InputSpec(("state", name), _spec(f"w{k}", t, {})) for k, (name, t) in enumerate(run.state.items())]
    outputs = [t for t in run.results if isinstance(t, Tensor)]
    buffers = [_spec(f"y{k}", t, names) for k, t in enumerate(outputs)]
    filled = iter(buffers)
    results = [next(filled).name if isinstance(leaf, Tensor) else {"value": leaf} for leaf in run.results]
    args = (*(i.spec.name for i in inputs), *(b.name for b in buffers))
    return Plan(
        tuple(inputs), tuple(buffers), (EntryCall(ENTRY, args),), tuple(results), run.treespec, symbols,
        constants=run.constants,
    )  # fmt: skip


def _run(task: Task, reference: Reference) -> _Run:
    """On fake tensors; for real where the reference needs values."""
    args = reference.draw(0, "given")
    state = _in_order(reference)
    leaves = pytree.tree_leaves(args)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    constants = tuple((k, x) for k, x in enumerate(leaves) if isinstance(x, bool | int | float | str))
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        try:
            tensors, result = _fake(task, reference, args)
        except Exception:  # data-dependent, or no fake kernel: torch and the user's code raise anything
            result = _real(task, reference, args)
    flat, spec = pytree.tree_flatten(result)
    single = isinstance(result, Tensor)
    return _Run(tensors, constants, flat, None if single else pytree.treespec_dumps(spec), state)


def _in_order(reference: Reference) -> dict[str, Tensor]:
    call = reference.call
    first = list(call.state_dict(keep_vars=True)) if isinstance(call, nn.Module) else []
    names = [name for name in first if name in reference.state]
    return {name: reference.state[name] for name in dict.fromkeys((*names, *reference.state))}


def _fake(task: Task, reference: Reference, args: tuple[Any, ...]) -> tuple[list[Tensor], Any]:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
    from torch.nn.utils import stateless

    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    places = [(d.arg, d.dim) for d in task.dynamic]
    tensors: list[Tensor] = []

    def fake(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        kinds = [
            DimDynamic.DYNAMIC if (len(tensors), dim) in places else DimDynamic.STATIC for dim in range(leaf.dim())
        ]
        context: Any = StatelessSymbolicContext(dynamic_sizes=kinds)
        tensors.append(mode.from_tensor(leaf.detach().contiguous(), symbolic_context=context))
        return tensors[-1]

    inputs = pytree.tree_map(fake, args)
    call = reference.call
    with torch.no_grad(), torch.random.fork_rng(devices=[]), mode:
        if isinstance(call, nn.Module):
            static: dict[str, Tensor] = {
                name: mode.from_tensor(t.detach(), static_shapes=True) for name, t in reference.state.items()
            }
            return tensors, stateless._functional_call(call, static, inputs)
        return tensors, call(*inputs)


def _real(task: Task, reference: Reference, args: tuple[Any, ...]) -> Any:
    if task.dynamic:
        raise ReferenceFailed(
            f"The reference of {task.name} cannot run on fake tensors, so the shapes of its outputs are not known for "
            "other sizes; judge it without dynamic sizes."
        )
    try:
        with torch.no_grad():
            return reference.call(*args)
    except TaskError:
        raise
    except Exception as error:  # the user's code
        text = " ".join(str(error).split())[:300]
        raise ReferenceFailed(
            f"The reference of {task.name} raises {type(error).__name__} on its own inputs: {text}"
        ) from error


def _symbols(task: Task, run: _Run) -> tuple[tuple[SymbolSpec, ...], dict[str, str]]:
    """The sizes that vary, each bound where it is first seen; the plan's names for torch's."""
    found: dict[str, SymbolSpec] = {}
    for d in task.dynamic:
        name = str(run.args[d.arg].shape[d.dim])
        if name not in found and not name.isdigit():
            found[name] = SymbolSpec(f"s{len(found)}", d.arg, d.dim, d.lo, d.hi)
    return tuple(found.values()), {theirs: symbol.name for theirs, symbol in found.items()}


def _spec(name: str, tensor: Tensor, names: Mapping[str, str]) -> TensorSpec:
    """Row-major, except for parameters, which are handed over as they lie."""
    shape = [_size(s, names) for s in tensor.shape]
    strides: _Sizes = _row_major(shape)
    if isinstance(tensor, nn.Parameter):
        strides = [int(s) for s in tensor.stride()]
    return TensorSpec(name, tuple(shape), str(tensor.dtype).removeprefix("torch."), tuple(strides))


def _size(size: Any, names: Mapping[str, str]) -> int | str:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if expression.is_Integer:
        return int(expression)
    renamed = expression.subs({s: type(s)(names.get(str(s), str(s)), integer=True) for s in expression.free_symbols})
    return str(renamed)


def _row_major(shape: _Sizes) -> list[int | str]:
    strides: list[int | str] = []
    step: int | str = 1
    for size in reversed(shape):
        strides.append(step)
        if isinstance(step, int) and isinstance(size, int):
            step = step * max(size, 1)
        else:
            step = str(size) if step == 1 else f"({step})*({size})"
    return strides[::-1]
