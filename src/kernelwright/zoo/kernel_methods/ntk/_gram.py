"""Gram matrices of infinite networks, tile by tile: temporaries stay in the cache, symmetric halves are done once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ....errors import ZooInvalid
from ._infinite import (
    Activation,
    Dense,
    Elementwise,
    Kernel,
    Layer,
    activation_of,
    diagonal_inputs,
    inputs,
    plain_inputs,
)

Wanted = Literal["ntk", "nngp", "both"]
_TILE = (64, 512)  # temporaries of 128 KiB in float32: a second-level cache holds a few, malloc maps no fresh pages


@dataclass(frozen=True)
class InfiniteNetwork:
    """Layers in a row, as :func:`serial` made them: the kernels of the infinitely wide network, and finite ones.

    ``input_scale`` is the factor of ``<x, z>`` in the first covariance over ``w_std²``: "1/d" as in the paper, or "1".
    """

    layers: tuple[Layer, ...]
    input_scale: str = "1/d"

    def __call__(self, kernel: Kernel) -> Kernel:
        for layer in self.layers:
            kernel = layer(kernel)
        return kernel

    def ntk(self, X: Tensor, Z: Tensor | None = None) -> Tensor:
        """The tangent kernel [n, m] of inputs X [n, d] and Z [m, d] (default: X)."""
        return self._gram(X, Z, "ntk")[0]

    def nngp(self, X: Tensor, Z: Tensor | None = None) -> Tensor:
        """The covariance [n, m] of the untrained network."""
        return self._gram(X, Z, "nngp")[0]

    def both(self, X: Tensor, Z: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Covariance and tangent kernel, in this order, from one pass."""
        nngp, theta = self._gram(X, Z, "both")
        return nngp, theta

    def diagonal(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Covariance and tangent kernel [n] of each input with itself."""
        check(X, X)
        kernel = self(diagonal_inputs(X, self._scale(X)))
        return kernel.nngp[:, 0], kernel.ntk[:, 0]

    def matvec(self, X: Tensor, Z: Tensor, V: Tensor) -> Tensor:
        """``ntk(X, Z) @ V`` for V [m, r]; no more than a tile of the kernel is ever held."""
        check(X, Z)
        if V.ndim != 2 or len(V) != len(Z):
            raise ZooInvalid(f"V has the shape {tuple(V.shape)}; it needs one row for each of the {len(Z)} rows of Z.")
        rows = []
        for x in X.split(_TILE[0]):
            tiles = zip(Z.split(_TILE[1]), V.split(_TILE[1]), strict=True)
            rows.append(sum((self._tile(x, z, "ntk")[0] @ v for z, v in tiles), X.new_zeros(len(x), V.shape[1])))
        return torch.cat(rows) if rows else X.new_zeros(0, V.shape[1])

    def finite(self, in_features: int, width: int, out_features: int = 1) -> nn.Sequential:
        """The same network with ``width`` units in each hidden layer."""
        dense = sum(isinstance(layer, Dense) for layer in self.layers)
        sizes = iter([in_features, *[width] * (dense - 1), out_features])
        modules, size = [], next(sizes)
        for layer in self.layers:
            if isinstance(layer, Dense):
                size, fan_in = next(sizes), size
                modules.append(layer.module(fan_in, size))
            else:
                modules.append(layer.module())
        return nn.Sequential(*modules)

    def _scale(self, x: Tensor) -> float:
        return 1 / max(1, x.shape[1]) if self.input_scale == "1/d" else 1.0

    def _tile(self, x: Tensor, z: Tensor, wanted: Wanted) -> tuple[Tensor, ...]:
        kernel = self(inputs(x, z, self._scale(x)))
        return {"ntk": (kernel.ntk,), "nngp": (kernel.nngp,), "both": (kernel.nngp, kernel.ntk)}[wanted]

    def _gram(self, x: Tensor, z: Tensor | None, wanted: Wanted) -> tuple[Tensor, ...]:
        check(x, x if z is None else z)
        if torch.is_grad_enabled() and (x.requires_grad or (z is not None and z.requires_grad)):
            return self._differentiable(x, x if z is None else z, wanted)
        other = x if z is None else z
        results = [x.new_empty(len(x), len(other)) for _ in range(2 if wanted == "both" else 1)]

        with torch.no_grad(), one_thread():
            for rows, columns in tiles(len(x), len(other), symmetric=z is None):
                for result, tile in zip(results, self._tile(x[rows], other[columns], wanted), strict=True):
                    result[rows, columns] = tile
                    if z is None:
                        mirror(result, rows, columns)
        return tuple(results)

    def _differentiable(self, x: Tensor, z: Tensor, wanted: Wanted) -> tuple[Tensor, ...]:
        """The same for autograd: tiles are computed again on the way back, so their temporaries are not kept."""
        count = 2 if wanted == "both" else 1
        rows = []
        for xs in x.split(_TILE[0]):
            row = [checkpoint(self._tile, xs, zs, wanted, use_reentrant=False) for zs in z.split(_TILE[1])]
            rows.append([torch.cat([tile[k] for tile in row], 1) for k in range(count)])
        return tuple(torch.cat([row[k] for row in rows]) for k in range(count))


def tiles(n: int, m: int, *, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Rows and columns that cover [n, m]; of a symmetric matrix only what touches its upper triangle."""
    height, width = _TILE
    for top in range(0, n, height):
        start = top if symmetric else 0
        for left in range(start, m, width):
            yield slice(top, min(n, top + height)), slice(left, min(m, left + width))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run what is inside without threads of torch's: tiles are too small to be shared, waiting would cost more."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


def mirror(result: Tensor, rows: slice, columns: slice) -> None:
    """Write a tile of :func:`tiles` to the other side of the diagonal; what crosses it becomes exactly symmetric."""
    square = result[rows, rows]
    square.copy_(square.triu() + square.triu(1).T)
    right = slice(max(rows.stop, columns.start), columns.stop)
    result[right, rows] = result[rows, right].T


def check(x: Tensor, z: Tensor) -> None:
    """Raises ``ZooInvalid`` unless both are matrices of one floating type with equally many columns."""
    if x.ndim != 2 or z.ndim != 2 or x.shape[1] != z.shape[1]:
        raise ZooInvalid(f"X and Z have the shapes {tuple(x.shape)} and {tuple(z.shape)}; give [n, d] and [m, d].")
    if x.dtype not in (torch.float32, torch.float64) or z.dtype != x.dtype:
        raise ZooInvalid(f"X and Z are {x.dtype} and {z.dtype}; give both as float32 or both as float64.")


def serial(*layers: Layer, input_scale: Literal["1/d", "1"] = "1/d") -> InfiniteNetwork:
    """Compose layers of infinite width. The last one is a :class:`Dense`, its results are the network's.

    >>> from kernelwright.zoo.kernel_methods.ntk import Relu
    >>> serial(Dense(), Relu(), Dense()).ntk(torch.ones(3, 2)).shape
    torch.Size([3, 3])
    """
    if not layers or not isinstance(layers[-1], Dense):
        raise ZooInvalid("A network of infinite width ends in a Dense layer; the last one given is something else.")
    if input_scale not in ("1/d", "1"):
        raise ZooInvalid(f"input_scale is {input_scale!r}; give '1/d' or '1'.")
    return InfiniteNetwork(layers, input_scale)


def mlp(
    depth: int,
    activation: str | Callable[[Tensor], Tensor] | Activation = "relu",
    w_var: float = 1.0,
    b_std: float = 0.1,
    input_scale: Literal["1/d", "1"] = "1/d",
) -> InfiniteNetwork:
    """``depth`` dense layers with an activation between each two: the network of the paper."""
    if depth < 1:
        raise ZooInvalid(f"depth is {depth}; a network has at least one layer of weights.")
    dense, between = Dense(math.sqrt(w_var), b_std), activation_of(activation)
    return serial(*[dense, between] * (depth - 1), dense, input_scale=input_scale)


def ntk(
    X: Tensor,
    Z: Tensor | None = None,
    *,
    depth: int,
    activation: str | Callable[[Tensor], Tensor] = "relu",
    w_var: float = 1.0,
    b_std: float = 0.1,
    input_scale: Literal["1/d", "1"] = "1/d",
    return_nngp: bool = False,
    diag: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The neural tangent kernel [n, m] of a deep network of infinite width (Jacot et al. 2018, theorem 1).

    ``X`` [n, d], ``Z`` [m, d] float32 or float64; ``depth`` weight matrices; weights have the variance ``w_var`` over
    the fan-in (the paper: 1; ``neural_tangents`` users write ``W_std = sqrt(w_var)``), ``b_std`` is the paper's beta.
    ``activation``: "relu", "erf" or a function, then by its Hermite series. ``return_nngp`` gives (nngp, ntk),
    ``diag`` only the [n] values of each x with itself. Gradients flow to X and Z. Raises ``ZooInvalid``.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> round(ntk(x, depth=4)[0, 1].item(), 6)
    0.092702
    """
    network = mlp(depth, activation, w_var, b_std, input_scale)
    if diag:
        if Z is not None:
            raise ZooInvalid("diag takes X alone: it pairs each row of X with itself.")
        nngp_, theta = network.diagonal(X)
        return (nngp_, theta) if return_nngp else theta
    return network.both(X, Z) if return_nngp else network.ntk(X, Z)


def nngp(
    X: Tensor,
    Z: Tensor | None = None,
    *,
    depth: int,
    activation: str | Callable[[Tensor], Tensor] = "relu",
    w_var: float = 1.0,
    b_std: float = 0.1,
    input_scale: Literal["1/d", "1"] = "1/d",
) -> Tensor:
    """The covariance [n, m] of the untrained network: arguments as for :func:`ntk`.

    >>> round(nngp(torch.ones(1, 2), depth=1).item(), 6)
    1.01
    """
    return mlp(depth, activation, w_var, b_std, input_scale).nngp(X, Z)


def ntk_matvec(
    X: Tensor,
    Z: Tensor,
    V: Tensor,
    *,
    depth: int,
    activation: str | Callable[[Tensor], Tensor] = "relu",
    w_var: float = 1.0,
    b_std: float = 0.1,
    input_scale: Literal["1/d", "1"] = "1/d",
) -> Tensor:
    """``ntk(X, Z) @ V`` [n, r] without the kernel: for conjugate gradients and predictions at many points.

    >>> x = torch.ones(3, 2)
    >>> ntk_matvec(x, x, torch.ones(3, 1), depth=2).shape
    torch.Size([3, 1])
    """
    return mlp(depth, activation, w_var, b_std, input_scale).matvec(X, Z, V)


def dual_activation(
    sigma: str | Callable[[Tensor], Tensor], degree: int = 32
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The function of cosines c -> (E[s(u) s(v)], E[s'(u) s'(v)]) for standard normal u, v with correlation c.

    A function is expanded in Hermite polynomials up to ``degree``; "relu" and "erf" are closed forms.

    >>> round(dual_activation("relu")(torch.tensor([1.0]))[0].item(), 6)
    0.5
    """
    layer = activation_of(sigma)
    if isinstance(layer, Elementwise):
        layer = Elementwise(layer.function, degree)

    def dual(cosine: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(cosine)
        kernel = layer(Kernel(one, one, 1 - cosine, 1 + cosine, one))
        return kernel.nngp, kernel.ntk

    return dual


def relu_ntk_gram(x: Tensor, z: Tensor) -> Tensor:
    """The hot operation as one expression: the kernel of four layers, all pairs at once."""
    return mlp(4)(plain_inputs(x, z, 1 / x.shape[1])).ntk


__all__ = [
    "InfiniteNetwork",
    "check",
    "dual_activation",
    "mirror",
    "mlp",
    "nngp",
    "ntk",
    "ntk_matvec",
    "one_thread",
    "relu_ntk_gram",
    "serial",
    "tiles",
]
