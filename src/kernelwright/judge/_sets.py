"""Argument sets: drawn by the task's laws, made longer or shorter inside its box, described for the candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import InputsInvalid, TaskError
from ..task import Reference, Task, characterise
from ._arena import Slot
from ._protocol import Message
from ._reference import tensor_leaves
from ._truth import is_memory

NEAR = "near "


def draw(
    task: Task, reference: Reference, seed: int, structure: str = "given", sizes: dict[int, int] | None = None
) -> tuple[Any, ...]:
    """Arguments by the law of ``structure``; ``sizes`` of dynamic dimensions other than the task's own.

    Of the structure "near N": those of the task's own law and seed N but for one element of each tensor.
    """
    try:
        if structure.startswith(NEAR):
            return _near(reference.draw(int(structure.removeprefix(NEAR)), "given"), seed)
        args = reference.draw(seed, structure)
        if not sizes:
            return args
        args = _resize(args, task, sizes, lambda k: reference.draw(seed + k, structure))
        if reference.gradients is None:
            return args
        return (*args[:-1], reference.gradients.cotangents(args[:-1], seed, structure))
    except TaskError:
        raise
    except Exception as error:
        if is_memory(error):
            raise
        raise InputsInvalid(f"Drawing inputs for {task.name} raises {type(error).__name__}: {error}") from error


def default_sizes(task: Task, args: tuple[Any, ...]) -> list[int]:
    """Sizes of the dynamic dimensions in the task's own draw."""
    leaves = tensor_leaves(args)
    return [int(leaves[d.arg].shape[d.dim]) for d in task.dynamic]


def describe_set(args: tuple[Any, ...], slots: Sequence[Slot]) -> Message:
    """JSON of one set: slots of the tensors and the other leaves' values (null: as the task's own draw has it)."""
    leaves = pytree.tree_leaves(args)
    others = [x if isinstance(x, bool | int | float | str) else None for x in leaves if not isinstance(x, torch.Tensor)]
    return {"slots": [slot.to_json() for slot in slots], "others": others}


def strides_for(tensor: torch.Tensor, layout: str) -> tuple[int, ...]:
    """Strides in elements for a layout: as drawn, or not contiguous (every other element of a wider tensor)."""
    if layout != "strided" or tensor.dim() == 0:
        return tuple(tensor.stride())
    shape = list(tensor.shape)
    shape[-1] = max(2 * shape[-1], 1)
    strides = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        strides[d] = strides[d + 1] * max(shape[d + 1], 1)
    strides[-1] = 2
    return tuple(strides)


def _near(args: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """Put another element's value at one place of each tensor; tensors that mean something as a whole stay."""
    generator = torch.Generator().manual_seed(seed)
    leaves, spec = pytree.tree_flatten(args)
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor) and leaf.numel() > 1 and _is_loose(leaf):
            to, *others = torch.randint(leaf.numel(), (9,), generator=generator).tolist()
            flat = leaf.view(-1)
            values = flat[others]
            far = (values.double() - flat[to].double()).abs().argmax()  # what changes more shows more
            flat[to] = values[far]
    return pytree.tree_unflatten(leaves, spec)


def _is_loose(tensor: torch.Tensor) -> bool:
    """May one element change alone? Not in masks, one-hot rows, probabilities, triangles, sorted positions."""
    if not tensor.is_contiguous() or tensor.dtype == torch.bool or tensor.is_complex():
        return False
    if not tensor.is_floating_point():
        return bool((tensor.diff(dim=-1) < 0).any())
    character = characterise(tensor)
    return character.kind in ("free", "permuted") and not character.rows and not character.form


def _resize(args: tuple[Any, ...], task: Task, sizes: dict[int, int], more: Any) -> tuple[Any, ...]:
    """Other sizes for the dynamic dimensions: cut what was drawn, or draw more of the same kind and append it."""
    leaves, spec = pytree.tree_flatten(args)
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    for index, size in sizes.items():
        dynamic = task.dynamic[index]
        place = places[dynamic.arg]
        parts, have = [leaves[place]], int(leaves[place].shape[dynamic.dim])
        while sum(int(p.shape[dynamic.dim]) for p in parts) < size:
            if have == 0:
                raise InputsInvalid(f"Argument {dynamic.arg} of {task.name} is empty and cannot be made longer.")
            extra = tensor_leaves(more(len(parts)))[dynamic.arg]
            for other, other_size in sizes.items():  # dimensions of the same tensor that were resized already
                d = task.dynamic[other]
                if d.arg == dynamic.arg and d.dim != dynamic.dim and leaves[place].shape[d.dim] == other_size:
                    repeat = -(-other_size // max(int(extra.shape[d.dim]), 1))
                    extra = torch.cat([extra] * repeat, d.dim).narrow(d.dim, 0, other_size)
            parts.append(extra)
        leaves[place] = torch.cat(parts, dynamic.dim).narrow(dynamic.dim, 0, size).contiguous()
    return pytree.tree_unflatten(leaves, spec)
