"""Names a captured computation by its content: the same in every process, whatever the example values."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import fx

from .capture import Captured

if TYPE_CHECKING:
    from .gradients import Halves


def identity(captured: Captured | Halves) -> str:
    """sha256 of the graph's text, the form of its inputs, its constants' values and the shape of its result."""
    if not isinstance(captured, Captured):
        meeting = (captured.inputs, captured.outputs, captured.sources)
        text = f"{identity(captured.forward)} {identity(captured.backward)} {meeting}"
        return hashlib.sha256(text.encode()).hexdigest()
    numbers: dict[fx.Node, int] = {}
    lines = []
    for node in captured.graph.nodes:
        numbers[node] = len(numbers)
        arguments = fx.node.map_arg((node.args, node.kwargs), lambda n: f"%{numbers[n]}")
        what = "" if node.op in ("placeholder", "output") else str(node.target)
        lines.append(f"{node.op} {what} {arguments} {_form(node.meta.get('val'))}")
    lines.append(str(captured.sources))
    lines.append(str((captured.results, captured.treespec, captured.constants, sorted(captured.bounds.items()))))
    lines += [f"{name} {_content(tensor)}" for name, tensor in sorted(captured.lifted.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _form(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{tuple(value.shape)}{value.stride()}"
    if isinstance(value, list | tuple):
        return f"({', '.join(_form(item) for item in value)})"
    return type(value).__name__


def _content(tensor: torch.Tensor) -> str:
    data = tensor.detach().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else torch.empty(0)
    return f"{_form(tensor)} {hashlib.sha256(data.numpy().tobytes()).hexdigest()}"
