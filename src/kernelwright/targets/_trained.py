"""A kernel with gradients, called like the reference: a launcher for each direction, and autograd between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import NoGradient
from .cpu import Allocate, Launcher
from .plan import Plan


class Trained:
    """A plan with its ``backward``, bound to the entries of a library; the results carry gradients.

    Raises ``OutsideDomain`` as :class:`Launcher` does, and ``NoGradient`` when gradients of gradients are asked for.
    """

    def __init__(self, plan: Plan, library: Path, state: Mapping[str, Tensor], allocate: Allocate) -> None:
        assert plan.backward is not None
        self.backward = plan.backward
        self.forward = Launcher(replace(plan, backward=None), library, state, allocate).call
        self.gradients = Launcher(plan.backward.plan, library, state, allocate).call
        self._state = [state[str(name)] for kind, name in plan.backward.sources if kind == "state"]

    def __call__(self, *args: Any) -> Any:
        leaves, spec = pytree.tree_flatten(args)
        places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        made = _Apply.apply(self, leaves, places, spec, *(leaves[k] for k in places), *self._state)
        tree, tensors = made[0], list(made[1:])
        return pytree.tree_map(lambda leaf: tensors[leaf.position] if isinstance(leaf, _Place) else leaf, tree)


class _Place:
    """Stands for a tensor of the result until autograd has wrapped it."""

    def __init__(self, position: int) -> None:
        self.position = position


class _Apply(torch.autograd.Function):
    """Inputs are the call's tensors and the parameters in which gradients are given, each on its own."""

    @staticmethod
    def forward(ctx: Any, kernel: Trained, leaves: list[Any], places: list[int], spec: Any, *tensors: Tensor) -> Any:
        given = list(leaves)
        for place, tensor in zip(places, tensors, strict=False):
            given[place] = tensor
        result, saved = kernel.forward(*pytree.tree_unflatten(given, spec))
        flat, tree = pytree.tree_flatten(result)
        made = [leaf for leaf in flat if isinstance(leaf, Tensor)]
        places_of = iter(range(len(made)))
        shown = [_Place(next(places_of)) if isinstance(leaf, Tensor) else leaf for leaf in flat]
        ctx.kernel, ctx.arguments = kernel, len(places)
        ctx.save_for_backward(*(tensors[k] for k in kernel.backward.inputs), *saved)
        ctx.mark_non_differentiable(*(t for k, t in enumerate(made) if k not in kernel.backward.outputs))
        return (pytree.tree_unflatten(shown, tree), *made)

    @staticmethod
    def backward(ctx: Any, _: Any, *cotangents: Tensor) -> Any:
        if torch.is_grad_enabled():  # create_graph=True: what came out would carry no gradients, and nobody would know
            raise NoGradient(
                "A generated kernel has no gradients of gradients; leave out create_graph=True, or run your own code."
            )
        half = ctx.kernel.backward
        found = ctx.kernel.gradients(*ctx.saved_tensors, *(cotangents[k] for k in half.outputs))
        given: list[Tensor | None] = [None] * ctx.arguments
        trained: list[Tensor] = []
        for (kind, name), gradient in zip(half.sources, found, strict=True):
            if kind == "arg":
                given[int(name)] = gradient
            else:
                trained.append(gradient)
        return (None, None, None, None, *given, *trained)
