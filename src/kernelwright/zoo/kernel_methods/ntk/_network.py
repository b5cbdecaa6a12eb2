"""Finite networks in the NTK parametrisation, their empirical kernel, and what they are to first order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vmap

from ....errors import ZooInvalid

Outputs = Literal["full", "trace", "sum"]


class NTKLinear(nn.Linear):
    """``w_std W x / sqrt(n) + b_std b`` with standard normal W [out, in] and b [out], all of them trained.

    >>> NTKLinear(3, 5)(torch.ones(2, 3)).shape
    torch.Size([2, 5])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        w_std: float = 1.0,
        b_std: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.w_std, self.b_std = w_std, b_std
        super().__init__(in_features, out_features, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw every weight and bias from N(0, 1)."""
        nn.init.normal_(self.weight)
        nn.init.normal_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        # The scale goes to the smaller operand: the input.
        return nn.functional.linear(
            input * (self.w_std / math.sqrt(self.in_features)), self.weight, self.b_std * self.bias
        )


class NTKMLP(nn.Sequential):
    """A perceptron of :class:`NTKLinear` layers: ``widths`` are all sizes from the input to the output.

    >>> NTKMLP((2, 64, 64, 1))(torch.ones(7, 2)).shape
    torch.Size([7, 1])
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Callable[[Tensor], Tensor] | nn.Module | None = None,
        b_std: float = 0.1,
        *,
        w_std: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        if len(widths) < 2:
            raise ZooInvalid(f"widths has {len(widths)} entries; a network needs at least an input and an output size.")
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [NTKLinear(fan_in, fan_out, w_std=w_std, b_std=b_std, dtype=dtype), _module(activation)]
        super().__init__(*layers[:-1])


def _module(activation: Callable[[Tensor], Tensor] | nn.Module | None) -> nn.Module:
    from ._infinite import Pointwise

    if activation is None:
        return nn.ReLU()
    return activation if isinstance(activation, nn.Module) else Pointwise(activation)


def empirical_ntk(
    module: nn.Module,
    X: Tensor,
    Z: Tensor | None = None,
    *,
    outputs: Outputs = "full",
    method: Literal["auto", "dense", "jacobian"] = "auto",
    block: int = 32,
) -> Tensor:
    """The tangent kernel of a finite network: sums over parameters of ``df_i(x)/dp df_j(z)/dp``.

    ``X`` [n, ...], ``Z`` [m, ...]; the module maps a batch to [batch, o]. "full" gives [n, m, o, o], "trace" its
    trace [n, m], "sum" the kernel [n, m] of the sum of all outputs. "dense" needs a sequence of :class:`NTKLinear` and
    activations and never forms a Jacobian; "jacobian" takes any module without coupling between samples, ``block``
    samples at a time. Raises ``ZooInvalid``.

    >>> empirical_ntk(NTKMLP((2, 8, 3)), torch.ones(4, 2), outputs="trace").shape
    torch.Size([4, 4])
    """
    if outputs not in ("full", "trace", "sum"):
        raise ZooInvalid(f"outputs is {outputs!r}; give 'full', 'trace' or 'sum'.")
    dense = _is_dense(module)
    if method == "dense" and not dense:
        raise ZooInvalid("method 'dense' takes a sequence of NTKLinear layers and activations; use 'jacobian' here.")
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in module.modules()):
        raise ZooInvalid("module holds a batch norm in training mode, which couples samples; call eval() before.")
    if dense and method != "jacobian":
        return _dense_kernel(module, X, X if Z is None else Z, outputs)
    return _jacobian_kernel(module, X, X if Z is None else Z, outputs, block)


def _is_dense(module: nn.Module) -> bool:
    from ._infinite import Pointwise

    return isinstance(module, nn.Sequential) and all(isinstance(m, NTKLinear | nn.ReLU | Pointwise) for m in module)


def _contract(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    """Products of derivatives [n, o, p] and [m, o, p], over p and as ``outputs`` says."""
    if outputs == "sum":
        return left.sum(1) @ right.sum(1).T
    return torch.einsum("nip,mip->nm" if outputs == "trace" else "nip,mjp->nmij", left, right)


def _jacobian_kernel(module: nn.Module, x: Tensor, z: Tensor, outputs: Outputs, block: int) -> Tensor:
    parameters = {k: p.detach() for k, p in module.named_parameters() if p.requires_grad}
    fixed = {k: p.detach() for k, p in module.named_parameters() if not p.requires_grad} | dict(module.named_buffers())

    def single(p: dict[str, Tensor], point: Tensor) -> Tensor:
        return functional_call(module, {**p, **fixed}, (point[None],))[0]

    def jacobian(points: Tensor) -> list[Tensor]:
        return [j.flatten(2) for j in vmap(jacrev(single), (None, 0))(parameters, points).values()]

    rows = []
    for xs in x.split(block):
        left = jacobian(xs)
        tiles = [
            sum((_contract(a, b, outputs) for a, b in zip(left, jacobian(zs), strict=True))) for zs in z.split(block)
        ]
        rows.append(torch.cat(tiles, 1))  # type: ignore[arg-type]
    return torch.cat(rows)


def _dense_kernel(module: nn.Module, x: Tensor, z: Tensor, outputs: Outputs) -> Tensor:
    """Layer by layer ``(w² H H'ᵀ/n + b²) o (D D'ᵀ)``: inputs H and derivatives D of a layer's outputs suffice."""
    layers = [m for m in module.children() if isinstance(m, NTKLinear)]
    left = _traces(module, x)
    right = left if z is x else _traces(module, z)
    total: Tensor | float = 0.0
    for layer, (h, d), (h2, d2) in zip(layers, left, right, strict=True):
        inner = layer.w_std**2 / layer.in_features * (h @ h2.T) + layer.b_std**2
        slopes = _contract(d, d2, outputs)
        total = total + (inner[..., None, None] if outputs == "full" else inner) * slopes
    assert isinstance(total, Tensor)
    return total


def _traces(module: nn.Module, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each linear layer its inputs [n, in] and the derivatives [n, o, out] of all outputs by its results."""
    seen: list[tuple[Tensor, Tensor]] = []
    h = x.detach().requires_grad_()
    with torch.enable_grad():
        for layer in module.children():
            out = layer(h)
            if isinstance(layer, NTKLinear):
                seen.append((h.detach(), out))
            h = out
        results = [r for _, r in seen]
        by_output = [torch.autograd.grad(h[:, i].sum(), results, retain_graph=True) for i in range(h.shape[1])]
    return [(inputs, torch.stack([g[k] for g in by_output], 1)) for k, (inputs, _) in enumerate(seen)]


class Linearized(nn.Module):
    """``f(x; p0) + J(x) (p - p0)``: see :func:`linearize`. Its parameters start at p0 and are its own."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._names = [name for name, p in module.named_parameters() if p.requires_grad]
        start = dict(module.named_parameters())
        self._base = [module]  # in a list: its parameters are the origin and not to be trained
        self.offsets = nn.ParameterList([nn.Parameter(torch.zeros_like(start[name])) for name in self._names])

    def forward(self, *args: Any) -> Tensor:
        module = self._base[0]
        named = dict(module.named_parameters())
        origin = {name: named[name].detach() for name in self._names}
        offsets = dict(zip(self._names, self.offsets, strict=True))
        result = jvp(lambda p: functional_call(module, p, args), (origin,), (offsets,))
        return result[0] + result[1]


def linearize(module: nn.Module) -> Linearized:
    """The first-order expansion of a network in its parameters, as a module to train: a wide network behaves like it.

    >>> net = NTKMLP((2, 8, 1))
    >>> bool(torch.allclose(linearize(net)(torch.ones(3, 2)), net(torch.ones(3, 2))))
    True
    """
    return Linearized(module)


__all__ = ["NTKMLP", "Linearized", "NTKLinear", "Outputs", "empirical_ntk", "linearize"]
