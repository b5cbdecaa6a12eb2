"""The tangent kernel of a finite network on one batch, by three ways that agree."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from ....errors import ZooInvalid

Params = Literal["weights", "all"]
Outputs = Literal["sum", "per-class-trace"]
Method = Literal["auto", "loop", "batched", "layerwise"]
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_LAYERS = (nn.Linear, nn.Conv2d, *_NORMS)


def ntk_gram(
    model: nn.Module,
    x: torch.Tensor,
    *,
    params: Params = "weights",
    outputs: Outputs = "sum",
    bn_mode: Literal["train", "eval"] = "train",
    method: Method = "auto",
) -> torch.Tensor:
    """Theta [B, B]: inner products of the gradients of g(x_i) for x [B, ...], g the sum of the logits.

    ``params``: tensors whose name contains "weight" (as published; batch norms' gains are among them), or all.
    ``outputs``: "sum" for g, or the sum over classes of the kernels of each logit. ``bn_mode`` "train" normalises by
    the batch, through which row i's gradient reaches all samples; the model itself is never changed. ``method``:
    "loop" does one backward pass a row, "batched" all rows at once, "layerwise" one pass in all, from layers' inputs
    and the gradients of their outputs, where samples do not touch each other; "auto" takes the best that applies.

    >>> ntk_gram(nn.Linear(3, 1), torch.eye(3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if params not in ("weights", "all") or outputs not in ("sum", "per-class-trace"):
        raise ZooInvalid(f"params and outputs are {params!r} and {outputs!r}; see the function's description.")
    if bn_mode not in ("train", "eval") or method not in ("auto", "loop", "batched", "layerwise"):
        raise ZooInvalid(f"bn_mode and method are {bn_mode!r} and {method!r}; see the function's description.")
    own = copy.deepcopy(model).train(bn_mode == "train")
    weights = [p for name, p in own.named_parameters() if params == "all" or "weight" in name]
    wanted = {id(p) for p in weights}
    if method == "auto":
        method = "layerwise" if _is_layerwise(own, wanted) else "batched"
    if method == "layerwise" and not _is_layerwise(own, wanted):
        raise ZooInvalid("method is 'layerwise', but samples meet in a batch norm, or a layer is of another kind.")
    total = x.new_zeros(len(x), len(x))
    for g, layers in _scalars(own, x, outputs, record=method == "layerwise"):
        if method == "layerwise":
            total += _layerwise(g, layers, wanted)
        else:
            total += _rows(g, weights, batched=method == "batched")
    return total


Recorded = list[tuple[nn.Module, torch.Tensor, torch.Tensor]]


def _scalars(
    model: nn.Module, x: torch.Tensor, outputs: Outputs, record: bool
) -> Iterator[tuple[torch.Tensor, Recorded]]:
    """g [B] for one output after another, with the layers that took part, their inputs and outputs."""
    layers: Recorded = []
    handles = []

    def remember(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        layers.append((module, inputs[0], output))

    if record:
        handles = [m.register_forward_hook(remember) for m in model.modules() if isinstance(m, _LAYERS)]
    logits = model(x)
    for handle in handles:
        handle.remove()
    if outputs == "sum":
        yield logits.sum(1), layers
    else:
        for c in range(logits.shape[1]):
            yield logits[:, c], layers


def _rows(g: torch.Tensor, weights: list[nn.Parameter], batched: bool) -> torch.Tensor:
    """J J^T from the rows of J, all in one backward pass or one pass each."""
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    if batched:
        eye = torch.eye(len(g), dtype=g.dtype, device=g.device)
        rows = torch.autograd.grad(g, weights, eye, is_grads_batched=True, **options)
        flat = [r.reshape(len(g), -1) for r in rows if r is not None]
        return sum((r @ r.mT for r in flat), g.new_zeros(len(g), len(g)))
    jacobian = []
    for one in g:
        row = torch.autograd.grad(one, weights, **options)
        jacobian.append(torch.cat([r.reshape(-1) for r in row if r is not None] or [g.new_zeros(1)]))
    stacked = torch.stack(jacobian)
    return stacked @ stacked.mT


def _is_layerwise(model: nn.Module, wanted: set[int]) -> bool:
    for module in model.modules():
        mixes = isinstance(module, _NORMS) and module.training
        other = not isinstance(module, _LAYERS) and any(id(p) in wanted for p in module.parameters(recurse=False))
        grouped = isinstance(module, nn.Conv2d) and (module.groups != 1 or module.padding_mode != "zeros")
        if mixes or other or grouped or isinstance(module.__dict__.get("padding"), str):
            return False
    return True


def _layerwise(g: torch.Tensor, layers: Recorded, wanted: set[int]) -> torch.Tensor:
    """One backward pass of sum(g); layer by layer the Gram matrix of the samples' own gradients."""
    slopes = torch.autograd.grad(g.sum(), [out for _, _, out in layers], retain_graph=True, allow_unused=True)
    total = g.new_zeros(len(g), len(g))
    with torch.no_grad():
        # A module that is called twice has one gradient: the sum of its calls'.
        gradients: dict[int, torch.Tensor] = {}
        for (module, a, _), d in zip(layers, slopes, strict=True):
            for parameter, value in _sample_gradients(module, a, d, wanted) if d is not None else ():
                gradients[parameter] = gradients[parameter] + value if parameter in gradients else value
        for value in gradients.values():
            flat = value.reshape(len(g), -1)
            total += flat @ flat.mT
    return total


def _sample_gradients(
    module: nn.Module, a: torch.Tensor, d: torch.Tensor, wanted: set[int]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Each sample's gradient [B, ...] of the module's weight and bias, for inputs ``a`` and output gradients ``d``."""
    weight, bias = module.weight, module.bias
    has_weight = isinstance(weight, nn.Parameter) and id(weight) in wanted
    if isinstance(module, nn.Linear):
        d = d.reshape(len(d), -1, d.shape[-1])
        if has_weight:
            yield id(weight), torch.einsum("bso,bsi->boi", d, a.reshape(len(a), -1, a.shape[-1]))
        spots: tuple[int, ...] = (1,)
    elif isinstance(module, nn.Conv2d):
        d = d.flatten(2)
        if has_weight:
            options: Any = (module.kernel_size, module.dilation, module.padding, module.stride)
            yield id(weight), d @ nn.functional.unfold(a, *options).mT
        spots = (2,)
    else:
        assert isinstance(module, _NORMS)
        shape = (1, -1, *(1 for _ in a.shape[2:]))
        assert module.running_mean is not None
        assert module.running_var is not None
        normal = (a - module.running_mean.view(shape)) * (module.running_var.view(shape) + module.eps).rsqrt()
        if has_weight:
            yield id(weight), (d * normal).flatten(2).sum(2) if a.ndim > 2 else d * normal
        spots = tuple(range(2, a.ndim))
    if isinstance(bias, nn.Parameter) and id(bias) in wanted:
        yield id(bias), d.sum(spots) if spots else d


def conv_gram(a: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """[B, B] of a 3 x 3 convolution's per-sample gradients: inputs [B, c, h, w], output gradients [B, o, h, w]."""
    gradient = (d.flatten(2) @ nn.functional.unfold(a, 3, padding=1).mT).flatten(1)
    return gradient @ gradient.mT


__all__ = ["Method", "Outputs", "Params", "conv_gram", "ntk_gram"]
