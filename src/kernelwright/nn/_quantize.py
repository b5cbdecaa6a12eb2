"""Turning the linear layers of any model into low-bit ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import torch

from ..errors import LowBitInvalid
from ..kernels.lowbit import BinaryTensor, QuantTensor, binary_code, gptq, half_quadratic, round_to_nearest
from ._quant_linear import QuantLinear

log = logging.getLogger("kernelwright")

_METHODS = ("nearest", "clip", "half-quadratic", "gptq", "binary")
_MOST_VECTORS = 4096  # of a layer's inputs that are kept for GPTQ


def quantize(
    model: torch.nn.Module,
    *,
    bits: int = 4,
    group_size: int | None = 128,
    method: str = "nearest",
    kind: str | None = None,
    calibration: Iterable[object] | None = None,
    skip: Callable[[str, torch.nn.Linear], bool] = lambda name, layer: name.endswith("lm_head"),
) -> torch.nn.Module:
    """Replace every ``torch.nn.Linear`` of a model by a :class:`QuantLinear`, in place; returns the model (of a
    bare ``Linear`` its replacement).

    ``bits``: 2 to 8, unsigned with offsets; ``kind`` names another type instead ("i4", "e2m1", ...). ``group_size``:
    inputs that share a scale (None: the whole row; a row that it does not divide takes the whole row, and a line of the
    log says so). ``method``: "nearest", "clip" (ranges searched), "half-quadratic", "gptq", which runs the model on
    ``calibration`` (inputs, each a tensor, a tuple or a dict of arguments), or "binary": ``bits`` (1 to 8) sign planes
    in place of integers, which pays at one to three bits. ``skip``: layers to leave as they are.

    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8))
    >>> quantize(model, bits=4, group_size=32)(torch.randn(2, 64)).shape
    torch.Size([2, 8])

    Raises ``LowBitInvalid`` for a method that does not exist, "gptq" without calibration, "binary" with a type, or
    weights that are not finite.
    """
    _check(bits, method, kind, calibration)
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and not skip(name, layer)
    }
    seen = _inputs_of(model, layers, calibration) if calibration is not None and method == "gptq" else {}
    for name, layer in layers.items():
        size = _group_size(name, layer, group_size)
        made = QuantLinear(_coded(layer.weight, bits, kind, size, method, seen.pop(name, None)), layer.bias)
        if layer is model:
            return made
        _replace(model, name, made)
    return model


def _check(bits: int, method: str, kind: str | None, calibration: object) -> None:
    if method not in _METHODS:
        raise LowBitInvalid(f"method is {method!r}, which is none of {', '.join(_METHODS)}.")
    if method == "binary" and kind is not None:
        raise LowBitInvalid(f"kind is {kind!r}; method 'binary' has sign planes, no type: bits says how many.")
    least = 1 if method == "binary" else 2
    if kind is None and not least <= bits <= 8:
        better = ", to one bit by method 'binary'" if bits == 1 else ""
        raise LowBitInvalid(f"bits is {bits}; weights are quantised to {least} to 8 bits{better}.")
    if method == "gptq" and calibration is None:
        raise LowBitInvalid("calibration is None; method 'gptq' needs inputs to run the model on.")


def _coded(
    weight: torch.Tensor, bits: int, kind: str | None, size: int, method: str, inputs: torch.Tensor | None
) -> QuantTensor | BinaryTensor:
    if method == "binary":
        return binary_code(weight, bits, size)
    return _quantised(weight, kind or f"u{bits}", size, method, inputs)


def _quantised(weight: torch.Tensor, kind: str, size: int, method: str, inputs: torch.Tensor | None) -> QuantTensor:
    if method == "half-quadratic":
        return half_quadratic(weight, kind, size)
    if method == "gptq" and inputs is not None:
        return gptq(weight, inputs, kind, size)
    return round_to_nearest(weight, kind, size, clip=method in ("clip", "gptq"))  # gptq: a layer that never ran


def _group_size(name: str, layer: torch.nn.Linear, size: int | None) -> int:
    if size is not None and layer.in_features % size == 0:
        return size
    if size is not None:
        log.warning("%s has %d inputs, no multiple of group_size %d: one group a row.", name, layer.in_features, size)
    return layer.in_features


def _inputs_of(
    model: torch.nn.Module, layers: Mapping[str, torch.nn.Linear], calibration: Iterable[object]
) -> dict[str, torch.Tensor]:
    """What each layer sees while the model runs on the calibration inputs, some thousand vectors of it."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
    left = dict.fromkeys(layers, _MOST_VECTORS)

    def keep(name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            vectors = args[0].detach().reshape(-1, args[0].shape[-1])[: left[name]]
            left[name] -= len(vectors)
            seen[name].append(vectors.float().cpu())

        return hook

    handles = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            for example in calibration:
                if isinstance(example, Mapping):
                    model(**example)
                else:
                    model(*(example if isinstance(example, tuple | list) else (example,)))
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts) for name, parts in seen.items() if parts and sum(map(len, parts))}


def _replace(model: torch.nn.Module, name: str, layer: torch.nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)
