"""A function with its gradients as two graphs: one for the result and what is kept, one from that to the gradients.

The joint graph of forward and backward is traced below autograd and cut where least must be kept (torch's min-cut
partitioner: what is cheap is computed again). Each half is captured like any other graph; both are printed into one
source, with one plan for each.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from ..errors import KernelwrightError, Unsupported
from ..targets.cpu import ENTRIES_MARK, KERNEL_MARK
from ..targets.plan import Backward, Candidate
from ..task import Gradients, module_state
from .capture import Captured, Constant, Source, capture_graph, decompositions

# What these make is more than their decompositions give: the backward graph reads it.
_WHOLE = ("_scaled_dot_product_flash_attention_for_cpu", "native_dropout")
_aten = torch.ops.aten


def _batch_norm(
    value: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float, eps: float
) -> Any:
    """As an operation whose schema says what it changes: this one's does not."""
    if mean is None or variance is None:
        return _aten._native_batch_norm_legit.no_stats(value, weight, bias, training, momentum, eps)
    if training:
        return _aten._native_batch_norm_legit(value, weight, bias, mean, variance, training, momentum, eps)
    return _aten._native_batch_norm_legit_no_training(value, weight, bias, mean, variance, momentum, eps)


_BELOW_AUTOGRAD = {_aten.native_batch_norm.default: _batch_norm}
_SAME = (_aten.alias.default, _aten.detach.default)  # what is another name for a tensor
PREFIX = "b"  # of the backward half's names


@dataclass(frozen=True)
class Halves:
    """The two graphs, and what a plan's :class:`Backward` says about how they meet."""

    forward: Captured
    backward: Captured
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sources: tuple[Source, ...]

    def join(self, forward: Candidate, backward: Candidate) -> Candidate:
        """Both halves, printed with names that differ, as one candidate."""
        assert forward.plan is not None
        assert backward.plan is not None
        half = Backward(backward.plan, self.inputs, self.outputs, self.sources)
        label = forward.label + backward.label.removeprefix("compiler").replace("/k", f"/{PREFIX}k")
        return replace(
            forward,
            source=_joined(forward.source, backward.source),
            plan=replace(forward.plan, backward=half),
            label=label,
            schedule=f"[{forward.schedule}, {backward.schedule}]",
            notes=tuple(dict.fromkeys((*forward.notes, *backward.notes))),
        )


@dataclass
class _Joint:
    """The joint graph, whose inputs are ``tensors`` arguments, then ``state``, then a cotangent for each output that
    carries gradients; it returns the result's tensors, the state's new values, then the gradients."""

    graph: fx.GraphModule
    tensors: int
    state: tuple[str, ...]
    results: list[Any]  # leaves: None for a tensor
    tree: pytree.TreeSpec
    returned: int
    carrying: tuple[int, ...]
    changed: tuple[str, ...]
    wanted: list[Source]


def capture_gradients(call: Callable[..., Any], args: tuple[Any, ...], asked: Gradients) -> Halves:
    """Trace a function or module with its gradients on example arguments. Raises ``Unsupported``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            joint = _trace(call, args, asked)
            forward, backward = _cut(joint)
    except KernelwrightError:
        raise
    except Exception as error:  # tracing and cutting raise whatever the user's code and torch raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unsupported(f"forward and backward cannot be traced together: {first}") from error
    return _halves(joint, args, forward, backward)


# ── the joint graph ──────────────────────────────────────────────────────────────────────────────────────────────


def _trace(call: Callable[..., Any], args: tuple[Any, ...], asked: Gradients) -> _Joint:
    leaves, spec = pytree.tree_flatten(args)
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    state = module_state(call)
    names, wanted = tuple(state), [("arg", k) for k in asked.inputs] + [("state", n) for n in asked.parameters]
    made: dict[str, Any] = {}

    def forward(*primals: Tensor) -> tuple[list[Any], pytree.TreeSpec, dict[str, Tensor]]:
        given = list(leaves)
        for place, tensor in zip(places, primals, strict=False):
            given[place] = tensor
        values = dict(zip(names, primals[len(places) :], strict=True))
        # What the module changes it changes in copies.
        work = {n: v if isinstance(state[n], nn.Parameter) else v.clone() for n, v in values.items()}
        flat = pytree.tree_unflatten(given, spec)
        if isinstance(call, nn.Module):
            result = torch.func.functional_call(call, work, flat, tie_weights=False, strict=False)
        else:
            result = call(*flat)
        found, tree = pytree.tree_flatten(result)
        return found, tree, {n: t for n, t in work.items() if not isinstance(state[n], nn.Parameter)}

    def joint(primals: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Tensor]:
        found, made["tree"], buffers = forward(*primals)
        made["results"] = [None if isinstance(leaf, Tensor) else leaf for leaf in found]
        tensors = [leaf for leaf in found if isinstance(leaf, Tensor)]
        made["carrying"] = tuple(k for k, t in enumerate(tensors) if t.requires_grad)
        made["buffers"] = tuple(buffers)
        sources = [primals[name if kind == "arg" else len(places) + names.index(name)] for kind, name in wanted]  # type: ignore[index]
        gradients = torch.autograd.grad(
            [tensors[k] for k in made["carrying"]], sources, list(cotangents), allow_unused=True
        )
        made["returned"] = len(tensors)
        whole = [torch.zeros_like(s) if g is None else g for g, s in zip(gradients, sources, strict=True)]
        return [t.detach() for t in (*tensors, *buffers.values(), *whole)]

    primals = [leaves[k].detach() for k in places] + [t.detach() for t in state.values()]
    for kind, name in wanted:
        place = int(name) if kind == "arg" else len(places) + names.index(str(name))
        primals[place] = primals[place].detach().requires_grad_()
    cotangents = _cotangents(forward, primals)
    with torch.enable_grad():
        first = make_fx(joint, _BELOW_AUTOGRAD, tracing_mode="fake")(primals, cotangents)
    table = {op: rule for op, rule in decompositions().items() if _name(op) not in _WHOLE}
    flat_inputs = [t.detach() for t in (*primals, *cotangents)]

    def functional(*tensors: Tensor) -> Any:
        return first(list(tensors[: len(primals)]), list(tensors[len(primals) :]))

    with torch.no_grad():
        whole = make_fx(torch.func.functionalize(functional), decomposition_table=table, tracing_mode="fake")(
            *flat_inputs
        )
    return _Joint(
        whole, len(places), names, made["results"], made["tree"], made["returned"], made["carrying"], made["buffers"],
        list(wanted),
    )  # fmt: skip


def _cotangents(forward: Callable[..., Any], primals: Sequence[Tensor]) -> list[Tensor]:
    """Tensors that look like the results that carry gradients."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.enable_grad():
        fakes = [mode.from_tensor(t) for t in primals]
        found, _, _ = forward(*fakes)
    carrying = [t for t in found if isinstance(t, Tensor) and t.requires_grad]
    if not carrying:
        raise Unsupported("no result carries a gradient.")
    return [torch.empty(t.shape, dtype=t.dtype) for t in carrying]


def _cut(joint: _Joint) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Two graphs; of the first one's outputs, those behind the results and the state are kept for the second."""
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    graph = joint.graph.graph
    for node in [n for n in graph.nodes if n.target in _SAME]:
        node.replace_all_uses_with(node.args[0])
    graph.eliminate_dead_code()
    first = joint.tensors + len(joint.state)
    for k, node in enumerate(n for n in graph.nodes if n.op == "placeholder"):
        node.target = node.name = f"primals_{k}" if k < first else f"tangents_{k - first}"
    joint.graph.recompile()
    count = joint.returned + len(joint.changed)
    forward, backward = min_cut_rematerialization_partition(joint.graph, None, num_fwd_outputs=count)
    return forward, backward


# ── the halves ───────────────────────────────────────────────────────────────────────────────────────────────────


def _halves(joint: _Joint, args: tuple[Any, ...], forward: fx.GraphModule, backward: fx.GraphModule) -> Halves:
    count = joint.returned + len(joint.changed)
    made = _returned(forward)
    kept = {node.name: node for node in made[count:] if isinstance(node, fx.Node)}
    _move_views(kept, backward)
    first, names = joint.tensors, joint.state
    holders = [n for n in backward.graph.nodes if n.op == "placeholder"]
    given = {n: int(n.name.removeprefix("primals_")) for n in holders if n.name.startswith("primals_")}
    cotangents = [n for n in holders if n.name.startswith("tangents_")]
    saved = [n for n in holders if n not in given and n not in cotangents]
    inputs = sorted(k for k in given.values() if k < first)
    places = {k: n for n, k in given.items()}
    arguments = [*(places[k] for k in inputs), *saved, *sorted(cotangents, key=lambda n: int(n.name[9:]))]
    state = [(n, ("state", names[k - first])) for n, k in given.items() if k >= first]
    behind = _bare(backward, [*((n, ("arg", i)) for i, n in enumerate(arguments)), *state], _returned(backward))
    if any(not isinstance(r, int) for r in behind.results):
        raise Unsupported("a gradient is no tensor of the graph.")
    keeps = [kept[n.name] for n in saved]
    ahead = _ahead(joint, args, forward, [*made[: joint.returned]], keeps, made[joint.returned : count])
    tree = pytree.tree_structure(tuple(range(len(behind.results))))
    behind = replace(behind, treespec=pytree.treespec_dumps(tree))
    return Halves(ahead, behind, tuple(inputs), joint.carrying, tuple(joint.wanted))


def _ahead(
    joint: _Joint, args: tuple[Any, ...], forward: fx.GraphModule, shown: list[fx.Node], keeps: list[fx.Node],
    buffers: Sequence[fx.Node],
) -> Captured:  # fmt: skip
    """The forward half: the result, then what is kept as a list, then the state that changes."""
    holders = [n for n in forward.graph.nodes if n.op == "placeholder"]
    numbers = {n: int(n.name.removeprefix("primals_")) for n in holders}
    changed = {n: b for n, b in zip(joint.changed, buffers, strict=True) if not _is_own(b, joint, n, numbers)}
    arguments = [(n, ("arg", k)) for n, k in sorted(numbers.items(), key=lambda item: item[1]) if k < joint.tensors]
    state = [(n, ("state", joint.state[k - joint.tensors])) for n, k in numbers.items() if k >= joint.tensors]
    used = [(n, source) for n, source in state if n.users]
    found = _bare(forward, [*arguments, *used], [*shown, *keeps, *changed.values()])
    tensors = iter(found.results[: len(shown)])
    results = [next(tensors) if leaf is None else Constant(leaf) for leaf in joint.results]
    results += found.results[len(shown) : len(shown) + len(keeps)]
    positions = found.results[len(shown) + len(keeps) :]
    whole = pytree.tree_unflatten(range(len(joint.results)), joint.tree)
    tree = pytree.tree_structure((whole, list(range(len(keeps)))))
    leaves = pytree.tree_leaves(args)
    return replace(
        found,
        results=tuple(results),
        treespec=pytree.treespec_dumps(tree),
        mutations=tuple((f"out{k}", name) for k, name in zip(positions, changed, strict=True)),
        constants=tuple((k, leaf) for k, leaf in enumerate(leaves) if not isinstance(leaf, Tensor)),
    )


def _bare(module: fx.GraphModule, inputs: Sequence[tuple[fx.Node, Source]], outputs: Sequence[Any]) -> Captured:
    """A captured graph of these inputs and outputs; an output that is asked for twice is there once."""
    graph = module.graph
    end = next(n for n in graph.nodes if n.op == "output")
    distinct = list(dict.fromkeys(outputs))
    end.args = (tuple(distinct),)
    taken = {n for n, _ in inputs}
    for node in [n for n in graph.nodes if n.op == "placeholder" and n not in taken]:
        if not node.users:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    module.recompile()
    holders = [n for n in graph.nodes if n.op == "placeholder"]
    captured = capture_graph(module, [n.meta["val"] for n in holders])
    constants = [(n, s) for n, s in zip(captured.placeholders, captured.sources, strict=True) if s[0] == "constant"]
    where = {node: captured.results[k] for k, node in enumerate(distinct)}
    every = [*inputs, *constants]
    return replace(
        captured,
        placeholders=tuple(n for n, _ in every),
        sources=tuple(s for _, s in every),
        results=tuple(where[node] for node in outputs),
    )


def _move_views(kept: dict[str, fx.Node], backward: fx.GraphModule) -> None:
    """What is kept is memory: views of it are taken in the backward half. Renames what ``kept`` holds."""
    for name, node in list(kept.items()):
        chain = [node]
        while _is_view(chain[-1]):
            chain.append(chain[-1].args[0])  # type: ignore[arg-type]
        base = chain[-1]
        if base is node:
            continue
        del kept[name]
        graph = backward.graph
        old = next(n for n in graph.nodes if n.op == "placeholder" and n.name == name)
        there = next((n for n in graph.nodes if n.op == "placeholder" and n.name == base.name), None)
        with graph.inserting_before(old):
            if there is None:
                there = graph.placeholder(base.name)
                there.meta.update(base.meta)
        last = [n for n in graph.nodes if n.op == "placeholder"][-1]
        shown = there
        for link in reversed(chain[:-1]):
            with graph.inserting_after(last):
                last = graph.node_copy(link, {link.args[0]: shown}.__getitem__)
            shown = last
        old.replace_all_uses_with(shown)
        graph.erase_node(old)
        if base.op != "placeholder":
            kept[base.name] = base


def _is_view(node: fx.Node) -> bool:
    if not (isinstance(node.target, torch._ops.OpOverload) and node.target.is_view):
        return False
    source = node.args[0]
    return isinstance(source, fx.Node) and all(not isinstance(a, fx.Node) for a in node.args[1:])


def _is_own(value: Any, joint: _Joint, name: str, numbers: Mapping[fx.Node, int]) -> bool:
    """Whether a buffer's new value is its old one."""
    node = value
    while isinstance(node, fx.Node) and node.op == "call_function" and _name(node.target) in ("clone", "detach"):
        node = node.args[0]
    return numbers.get(node) == joint.tensors + joint.state.index(name)


def _returned(module: fx.GraphModule) -> list[Any]:
    return list(next(n for n in module.graph.nodes if n.op == "output").args[0])


def _name(target: object) -> str:
    return target._schema.name.removeprefix("aten::") if isinstance(target, torch._ops.OpOverload) else str(target)


# ── one source ───────────────────────────────────────────────────────────────────────────────────────────────────


def _joined(forward: str, backward: str) -> str:
    """One translation unit; either half may be empty, when all its steps are ATen calls."""
    if not forward or not backward:
        return forward or backward
    mark = f"{ENTRIES_MARK}\n"
    kernels, entries = forward.split(mark)
    own, behind = backward[backward.index(KERNEL_MARK) :].split(mark) if KERNEL_MARK in backward else ("", backward)
    return f"{kernels}{own}{mark}{entries}\n{behind}"


__all__ = ["PREFIX", "Halves", "capture_gradients"]
