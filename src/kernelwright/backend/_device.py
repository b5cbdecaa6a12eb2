"""On which device a graph computes, and the graph as the judge's oracle has it: on the CPU of any machine."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

from ..errors import Unsupported
from ..search import device_of
from ._graph import Core

_USUAL = {"cpu": "cpu", "cuda": "triton"}


def target_of(inputs: Sequence[Any], asked: str | None) -> str:
    """The target of kernels for a graph with these inputs. Raises ``Unsupported``, saying why there is none."""
    places = sorted({str(given.device) for given in inputs if isinstance(given, torch.Tensor)})
    if len(places) > 1:
        raise Unsupported(f"its tensors are on several devices ({', '.join(places)}).")
    place = torch.device(places[0] if places else "cpu")
    if place.type not in _USUAL:
        raise Unsupported(f"its tensors are on {place}, and no kernels are made for that.")
    target = asked or _USUAL[place.type]
    if device_of(target) != place.type:
        raise Unsupported(f"its tensors are on {place}, where kernels for the target {target} do not run.")
    if place.type == "cuda" and place.index != torch.cuda.current_device():
        raise Unsupported(f"its tensors are on {place}, which is not the current GPU.")
    return target


def on_cpu(core: Core, inputs: Sequence[torch.Tensor]) -> tuple[Core, list[torch.Tensor]]:
    """The core and its inputs without a word about devices: what makes tensors makes them wherever it is run."""
    if all(given.device.type == "cpu" for given in inputs):
        return core, list(inputs)
    here = [given.detach().to("cpu") for given in inputs]
    with torch.no_grad():
        graph = make_fx(placeless(core.graph), tracing_mode="fake")(*here)
    return replace(core, graph=graph), here


def placeless(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of the graph in which no operation names a device, with its constants on the CPU."""
    found = copy.deepcopy(module)
    for node in found.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {name: value for name, value in node.kwargs.items() if name != "device"}
        if node.op == "get_attr":
            constant = getattr(found, str(node.target))
            if isinstance(constant, torch.Tensor):
                setattr(found, str(node.target), _like(constant.detach().to("cpu"), constant))
    found.recompile()
    return found


def _like(moved: torch.Tensor, constant: torch.Tensor) -> torch.Tensor:
    return torch.nn.Parameter(moved, constant.requires_grad) if isinstance(constant, torch.nn.Parameter) else moved


__all__ = ["on_cpu", "placeless", "target_of"]
