"""From a graph of AOTAutograd to what a kernel can be made of: fixed sizes, tensors only, new memory only.

What is left out of the *core* is done around it at every call: random numbers are drawn before it (in the graph's
order, so that the random stream is eager's) and become inputs; outputs that are views, of inputs or of what the core
computes, are taken after it, so that they share memory exactly as in eager mode.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

from ..errors import Unsupported

Sizes = tuple[int, ...]

# Random operations that read nothing of their first argument but its form.
_LIKE = frozenset({"aten::rand_like", "aten::randn_like", "aten::randint_like", "aten::bernoulli"})
_FORMLESS = frozenset({"bernoulli.default", "bernoulli.Tensor", "bernoulli.out"})


@dataclass(frozen=True)
class Argument:
    """The ``position``-th input of the call."""

    position: int


@dataclass(frozen=True)
class Draw:
    """Random numbers: ``call()`` draws them from torch's own generator."""

    call: Callable[[], torch.Tensor]


@dataclass(frozen=True)
class View:
    """A tensor of the memory of the core's output (or, if ``of_input``, of the call's input) number ``index``.

    ``shape`` is None for the tensor itself. ``offset`` counts from the base's own first element.
    """

    index: int
    of_input: bool
    shape: Sizes | None = None
    strides: Sizes = ()
    offset: int = 0


@dataclass(frozen=True)
class Plain:
    """A result that is no tensor."""

    value: object


@dataclass(frozen=True)
class Core:
    """``graph`` maps tensors (from ``feeds``) to a tuple of tensors in memory of their own; ``results`` uses them.

    ``key`` names what is computed, equal in every process: operations, shapes, strides, dtypes and constants.
    """

    graph: fx.GraphModule
    feeds: tuple[Argument | Draw, ...]
    results: tuple[View | Plain, ...]
    key: str

    @property
    def outputs(self) -> tuple[torch.Tensor, ...]:
        """Fake tensors: the form of what the core gives."""
        return tuple(node.meta["val"] for node in _returned(self.graph))


def split(graph: Callable[..., Any], inputs: Sequence[Any]) -> Core:
    """The core of a graph for inputs of these sizes. Raises :class:`Unsupported` when a kernel cannot stand for it."""
    places = [k for k, given in enumerate(inputs) if isinstance(given, torch.Tensor)]

    def tensors_only(*tensors: torch.Tensor) -> Any:
        full = list(inputs)
        for place, tensor in zip(places, tensors, strict=True):
            full[place] = tensor
        return graph(*full)

    with torch.no_grad():
        static = make_fx(tensors_only, tracing_mode="fake")(*(inputs[k].detach() for k in places))
    for node in static.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
            raise Unsupported(f"{node.target} writes to its arguments.")
    feeds: dict[fx.Node, Argument | Draw] = {
        node: Argument(place) for node, place in zip(_placeholders(static.graph), places, strict=True)
    }
    _lift_randomness(static.graph, feeds)
    results = _peel(static.graph, feeds)
    for node in _placeholders(static.graph):
        if not node.users:
            static.graph.erase_node(node)
            del feeds[node]
    static.recompile()
    ordered = tuple(feeds[node] for node in _placeholders(static.graph))
    return Core(static, ordered, results, _key(static))


# ── random numbers ───────────────────────────────────────────────────────────────────────────────────────────────


def _lift_randomness(graph: fx.Graph, feeds: dict[fx.Node, Argument | Draw]) -> None:
    last = None
    for node in list(graph.nodes):
        if node.op == "placeholder":
            last = node
        elif _is_random(node):
            with graph.inserting_after(last) if last is not None else graph.inserting_before(node):
                last = _lift_one(graph, node, feeds)
    graph.eliminate_dead_code()


def _is_random(node: fx.Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False
    names = [argument.name for argument in node.target._schema.arguments]
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    return bool(given.get("dropout_p", 1.0) != 0.0 and given.get("train", True) is not False)


def _lift_one(graph: fx.Graph, node: fx.Node, feeds: dict[fx.Node, Argument | Draw]) -> fx.Node:
    """Replace a random operation by a new input; returns the input."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    if target._schema.name == "aten::native_dropout":
        return _lift_dropout(graph, node, feeds)
    rest = [a for a in (*node.args, *node.kwargs.values()) if isinstance(a, fx.Node)]
    name = str(target).removeprefix("aten.")
    like = target._schema.name in _LIKE and name not in _FORMLESS and rest == [node.args[0]]
    if (rest and not like) or not isinstance(node.meta["val"], torch.Tensor):
        raise Unsupported(f"{target} draws random numbers that depend on computed values.")
    drawn = _new_input(graph, node.meta["val"])
    forms = [_room(a.meta["val"]) if isinstance(a, fx.Node) else None for a in node.args]
    constants, named = list(node.args), dict(node.kwargs)

    def call() -> torch.Tensor:
        args = [constant if form is None else form() for constant, form in zip(constants, forms, strict=True)]
        result: torch.Tensor = target(*args, **named)
        return result

    feeds[drawn] = Draw(call)
    node.replace_all_uses_with(drawn)
    return drawn


def _lift_dropout(graph: fx.Graph, node: fx.Node, feeds: dict[fx.Node, Argument | Draw]) -> fx.Node:
    """``native_dropout``: the mask is drawn as torch draws it; the product stays in the graph."""
    value, keep = node.args[0], 1.0 - float(node.args[1])  # type: ignore[arg-type]
    product_form, mask_form = node.meta["val"]
    room = _room(mask_form)
    mask = _new_input(graph, mask_form)
    feeds[mask] = Draw(lambda: room().bernoulli_(keep))
    with graph.inserting_before(node):
        masked = graph.call_function(torch.ops.aten.mul.Tensor, (value, mask))
        product = graph.call_function(torch.ops.aten.mul.Tensor, (masked, 1.0 / keep if keep else 0.0))
        masked.meta["val"] = product.meta["val"] = product_form
    for user in list(node.users):
        user.replace_all_uses_with(mask if user.args[1] else product)
    return mask


def _new_input(graph: fx.Graph, form: torch.Tensor) -> fx.Node:
    count = len(_placeholders(graph))
    node = graph.placeholder(f"drawn_{count}")
    node.meta["val"] = form
    return node


def _form(value: torch.Tensor) -> tuple[Sizes, Sizes, torch.dtype]:
    return tuple(map(int, value.shape)), tuple(map(int, value.stride())), value.dtype


def _room(value: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Makes memory of the form of a fake tensor, on the same device."""
    shape, strides, dtype = _form(value)
    return partial(torch.empty_strided, shape, strides, dtype=dtype, device=value.device)


# ── results that are views ───────────────────────────────────────────────────────────────────────────────────────


def _peel(graph: fx.Graph, feeds: dict[fx.Node, Argument | Draw]) -> tuple[View | Plain, ...]:
    """Let the graph return each piece of memory once; the views that it returned are the results."""
    end = next(n for n in graph.nodes if n.op == "output")
    given = end.args[0] if isinstance(end.args[0], list | tuple) else [end.args[0]]
    bases: dict[fx.Node, int] = {}
    results: list[View | Plain] = []
    for node in given:
        if not isinstance(node, fx.Node):
            results.append(Plain(node))
            continue
        base = _base(node)
        feed = feeds.get(base)
        if isinstance(feed, Argument):
            results.append(_view(node, base, feed.position, True))
            continue
        if feed is not None:  # drawn numbers are returned by way of the core, which copies them
            base = node
        elif not _dense(base.meta["val"]):
            raise Unsupported(f"{base.target} returns a tensor with gaps, which a kernel does not make.")
        results.append(_view(node, base, bases.setdefault(base, len(bases)), False))
    end.args = (tuple(bases),)
    graph.eliminate_dead_code()
    return tuple(results)


def _base(node: fx.Node) -> fx.Node:
    """The node whose memory this one shows."""
    while True:
        target, source = node.target, node.args[0] if node.args else None
        if target is operator.getitem and isinstance(source, fx.Node):
            whole = source.target
            if not (isinstance(whole, torch._ops.OpOverload) and whole.is_view):
                return node
            source = source.args[0]
        elif not (isinstance(target, torch._ops.OpOverload) and target.is_view):
            return node
        if not isinstance(source, fx.Node) or not isinstance(source.meta["val"], torch.Tensor):
            return node
        if source.meta["val"].dtype != node.meta["val"].dtype:
            return node
        node = source


def _view(node: fx.Node, base: fx.Node, index: int, of_input: bool) -> View:
    have, want = base.meta["val"], node.meta["val"]
    shape, strides, _ = _form(want)
    offset = int(want.storage_offset()) - int(have.storage_offset())
    if offset == 0 and (shape, strides) == _form(have)[:2]:
        return View(index, of_input)
    return View(index, of_input, shape, strides, offset)


def _dense(value: torch.Tensor) -> bool:
    """Are the strides a permutation of row-major ones?"""
    expected = 1
    for stride, size in sorted((st, s) for s, st in zip(value.shape, value.stride(), strict=True) if s != 1):
        if stride != expected:
            return False
        expected *= size
    return True


# ── what it is called ────────────────────────────────────────────────────────────────────────────────────────────


def _key(module: fx.GraphModule) -> str:
    """sha256 of the graph's text with nodes numbered, the form of its inputs, and its constants' values."""
    numbers: dict[fx.Node, str] = {}
    lines = []
    for node in module.graph.nodes:
        numbers[node] = f"%{len(numbers)}"
        args = fx.node.map_arg((node.args, node.kwargs), lambda n: _Name(numbers[n]))
        what = "" if node.op == "placeholder" else str(node.target)
        if node.op == "placeholder":
            what = str(_form(node.meta["val"]))
        elif node.op == "get_attr":
            what = _content(operator.attrgetter(str(node.target))(module))
        lines.append(f"{node.op} {what} {args}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Name(str):
    def __repr__(self) -> str:
        return str(self)


def _content(tensor: torch.Tensor) -> str:
    data = tensor.detach().contiguous().view(-1).view(torch.uint8) if tensor.numel() else torch.empty(0)
    return f"{_form(tensor)} {hashlib.sha256(data.cpu().numpy().tobytes()).hexdigest()}"


def _placeholders(graph: fx.Graph) -> list[fx.Node]:
    return [n for n in graph.nodes if n.op == "placeholder"]


def _returned(module: fx.GraphModule) -> list[fx.Node]:
    return list(next(n for n in module.graph.nodes if n.op == "output").args[0])


__all__ = ["Argument", "Core", "Draw", "Plain", "View", "split"]
