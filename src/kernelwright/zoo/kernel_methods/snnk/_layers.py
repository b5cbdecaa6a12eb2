"""Layers whose weights are a matrix of out x features: in place of Linear and its activation, and as adapters."""

from __future__ import annotations

import re

import torch
from torch import nn

from ....errors import ZooInvalid
from ._features import SPECTRA, Activation, DualFeatures, UniversalRandomFeatures

Features = UniversalRandomFeatures | DualFeatures
_ACTIVATIONS = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh)


def make_features(
    in_features: int,
    num_features: int,
    activation: str | Activation,
    *,
    bias: bool = False,
    orthogonal: bool = True,
    m_param: float = 0.0,
    generator: torch.Generator | None = None,
) -> Features:
    """The features of an activation by name: those of a spectrum, or a(G x) for "relu" and for any function."""
    if isinstance(activation, str) and activation != "relu":
        if activation not in SPECTRA:
            raise ZooInvalid(f"activation is {activation!r}; it is relu, {', '.join(SPECTRA)}, or a function.")
        return UniversalRandomFeatures(
            in_features, num_features, activation, m_param=m_param, orthogonal=orthogonal, generator=generator
        )
    function = torch.relu if isinstance(activation, str) else activation
    return DualFeatures(in_features, num_features, function, bias, orthogonal, generator)


class SNNKLinear(nn.Module):
    """f(W x + b) as Phi(x) V^T with V [out, features] trainable and Phi fixed (arXiv 2310.13225, section 3).

    For "cos", "sin", "tanh" and "exp" V starts as Psi(W, b) of an ordinary layer's weights and the output estimates
    f(W x + b) without bias; norms of x and of W's rows should be near 1 or below. For "relu", and a function a, V
    starts as a(G W) / sqrt(m), whose mean is a kernel of x and W, for ReLU the arc-cosine kernel. Inputs [..., in]
    give [..., out].

    >>> SNNKLinear(16, 4, num_features=32)(torch.zeros(2, 16)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_features: int,
        activation: str | Activation = "relu",
        *,
        bias: bool = False,
        orthogonal: bool = True,
        m_param: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.features = make_features(
            in_features,
            num_features,
            activation,
            bias=bias,
            orthogonal=orthogonal,
            m_param=m_param,
            generator=generator,
        )
        bound = in_features**-0.5
        drawn = torch.rand(out_features, in_features + 1, generator=generator) * 2 * bound - bound  # as nn.Linear does
        with torch.no_grad():
            start = self.features.weight_map(drawn[:, :-1], drawn[:, -1] if bias else None)
        self.weight = nn.Parameter(start)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        activation: str | Activation,
        num_features: int,
        *,
        orthogonal: bool = True,
        m_param: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> SNNKLinear:
        """In place of ``activation(linear(x))``: V is Psi of the layer's weights and bias, in its dtype and place."""
        made = cls(
            linear.in_features,
            linear.out_features,
            num_features,
            activation,
            bias=linear.bias is not None,
            orthogonal=orthogonal,
            m_param=m_param,
            generator=generator,
        ).to(linear.weight)
        with torch.no_grad():
            made.weight.copy_(made.features.weight_map(linear.weight, linear.bias))
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.features.input_map(x), self.weight)


class SNNKAdapter(nn.Module):
    """x + s (Phi(x) V^T): ReLU features, V [dim, features] and a scale s [dim] that starts at 0, so as the identity.

    dim (num_features + 1) parameters, where a bottleneck of r units has dim (2 r + 1) + r (section 4.2).

    >>> adapter, x = SNNKAdapter(16, num_features=4), torch.rand(2, 16)
    >>> torch.equal(adapter(x), x)
    True
    """

    def __init__(
        self,
        dim: int,
        num_features: int,
        *,
        norm: bool = False,
        orthogonal: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        self.features = DualFeatures(dim, num_features, orthogonal=orthogonal, generator=generator)
        bound = (3 / num_features) ** 0.5
        self.weight = nn.Parameter((torch.rand(dim, num_features, generator=generator) * 2 - 1) * bound)
        self.scale = nn.Parameter(torch.zeros(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * nn.functional.linear(self.features.input_map(self.norm(x)), self.weight)


def snnkify(
    model: nn.Module,
    pattern: str,
    num_features: int,
    activation: str | Activation = "relu",
    generator: torch.Generator | None = None,
) -> list[str]:
    """Replace, in place, every ``nn.Linear`` whose full name matches the regular expression; return their names.

    An activation that follows one inside ``nn.Sequential`` becomes the identity, since the new layer stands for both;
    elsewhere removing it is the caller's to do. Raises ``ZooInvalid`` where nothing matches.

    >>> net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> snnkify(net, "0", num_features=16)
    ['0']
    """
    names = [name for name, m in model.named_modules() if isinstance(m, nn.Linear) and re.fullmatch(pattern, name)]
    names = [name for name in names if name]  # the model itself has no parent to be replaced in
    if not names:
        raise ZooInvalid(f"pattern is {pattern!r}; no linear layer inside the model has a name that matches it.")
    for name in names:
        parent = model.get_submodule(name.rpartition(".")[0])
        own = name.rpartition(".")[2]
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        setattr(parent, own, SNNKLinear.from_linear(linear, activation, num_features, generator=generator))
        if isinstance(parent, nn.Sequential) and own.isdecimal() and int(own) + 1 < len(parent):
            after = int(own) + 1
            if isinstance(parent[after], _ACTIVATIONS):
                parent[after] = nn.Identity()
    return names


__all__ = ["Features", "SNNKAdapter", "SNNKLinear", "make_features", "snnkify"]
