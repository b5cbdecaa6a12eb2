"""How weights, their start and the learning rate scale with width: what such a rule does at infinite width."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ....errors import ZooInvalid

_CLOSE = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What a parametrisation does as the width grows; hidden features move by ``width^-r``."""

    stable: bool
    trivial: bool
    feature_learning: bool
    r: float


@dataclass(frozen=True)
class ABC:
    """``W_l = n^-a_l w_l``, ``w_l`` drawn with deviation ``n^-b_l``, SGD with the rate ``eta n^-c`` on ``w_l``.

    ``a`` and ``b`` have one entry for each layer of weights: input, hidden layers, readout (section 3 of the paper).

    >>> ABC.mup(3).classify().feature_learning
    True
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    c: float

    def __post_init__(self) -> None:
        if len(self.a) != len(self.b) or len(self.a) < 2:
            raise ZooInvalid(
                f"a and b have {len(self.a)} and {len(self.b)} entries; give both one for each layer, >= 2."
            )

    @staticmethod
    def standard(depth: int, c: float = 1.0) -> ABC:
        """What frameworks do, for ``depth`` layers of weights; stable only with the rate falling as 1/n (c = 1)."""
        return ABC((0.0,) * depth, (0.0,) + (0.5,) * (depth - 1), c)

    @staticmethod
    def ntk(depth: int) -> ABC:
        """The parametrisation of the neural tangent kernel."""
        return ABC((0.0,) + (0.5,) * (depth - 1), (0.0,) * depth, 0.0)

    @staticmethod
    def mean_field() -> ABC:
        """One hidden layer, averages for a readout."""
        return ABC((0.0, 1.0), (0.0, 0.0), -1.0)

    @staticmethod
    def mup(depth: int) -> ABC:
        """Maximal updates: every layer moves as much as it stably can."""
        return ABC((-0.5,) + (0.0,) * (depth - 2) + (0.5,), (0.5,) * depth, 0.0)

    def shifted(self, t: float) -> ABC:
        """The same training written with other constants: (a + t, b - t, c - 2t)."""
        return replace(self, a=tuple(a + t for a in self.a), b=tuple(b - t for b in self.b), c=self.c - 2 * t)

    def classify(self) -> Verdict:
        """Apply the dynamical dichotomy theorem (section 3.2 of the paper)."""
        *hidden, last = self.a
        start = [a + b for a, b in zip(self.a, self.b, strict=True)]
        moved = min(start[-1], 2 * last + self.c)
        r = moved + self.c - 1 + min(2 * a + (k == 0) for k, a in enumerate(hidden))
        beginning = abs(start[0]) < _CLOSE and all(abs(s - 0.5) < _CLOSE for s in start[1:-1])
        outputs = (2 * last + self.c, start[-1] + r)
        stable = beginning and start[-1] >= 0.5 - _CLOSE and r >= -_CLOSE and min(outputs) >= 1 - _CLOSE
        trivial = all(o > 1 + _CLOSE for o in outputs)
        return Verdict(stable, trivial, stable and not trivial and abs(r) < _CLOSE, r)


def _fan_in(weight: Tensor) -> int:
    return math.prod(weight.shape[1:]) if weight.ndim > 1 else 1


@dataclass(frozen=True)
class Widths:
    """By how much a parameter's fan-in and fan-out exceed those of the base model; 1 where a size does not grow."""

    fan_in: float
    fan_out: float


def widths_of(model: nn.Module, base: nn.Module) -> dict[str, Widths]:
    """Compare a model with a narrower one of the same kind, parameter by parameter. Raises ``ZooInvalid``."""
    small = dict(base.named_parameters())
    large = dict(model.named_parameters())
    if small.keys() != large.keys():
        odd = sorted(small.keys() ^ large.keys())
        raise ZooInvalid(
            f"The model and its base differ in the parameters {', '.join(odd)}; give the same kind of model."
        )
    found = {}
    for name, weight in large.items():
        origin = small[name]
        if weight.ndim != origin.ndim or weight.shape[2:] != origin.shape[2:]:
            raise ZooInvalid(
                f"{name} is {tuple(weight.shape)}, in the base {tuple(origin.shape)}; only widths may grow."
            )
        into = weight.shape[1] / origin.shape[1] if weight.ndim > 1 else 1.0
        found[name] = Widths(into, weight.shape[0] / origin.shape[0])
    return found


def apply_mup(model: nn.Module, base: nn.Module) -> nn.Module:
    """Give ``model`` the start of maximal updates relative to ``base``, in place, and return it.

    Hidden weights keep the deviation 1/sqrt(fan-in) that frameworks give; a readout (fan-in grows, fan-out does not)
    starts at 1/fan-in. Train it with :func:`mup_param_groups`, or the rule is not that of the paper.
    """
    for name, width in widths_of(model, base).items():
        weight = model.get_parameter(name)
        if width.fan_in > 1 and width.fan_out == 1:
            with torch.no_grad():
                weight.div_(math.sqrt(width.fan_in))
    return model


def mup_param_groups(
    model: nn.Module, base: nn.Module, lr: float, optimizer: Literal["sgd", "adam"] = "sgd"
) -> list[dict[str, Any]]:
    """Groups for an optimiser of torch, so that the best ``lr`` of ``base`` stays the best at every width.

    SGD: rates grow with fan-out for inputs and biases and fall with fan-in for readouts; Adam: they fall with fan-in
    for hidden weights and readouts.

    >>> narrow, wide = nn.Linear(8, 8), nn.Linear(32, 32)
    >>> [g["lr"] for g in mup_param_groups(wide, narrow, 0.1, "adam")]
    [0.025, 0.1]
    """
    if optimizer not in ("sgd", "adam"):
        raise ZooInvalid(f"optimizer is {optimizer!r}; give 'sgd' or 'adam'.")
    rates: dict[float, list[nn.Parameter]] = {}
    for name, width in widths_of(model, base).items():
        scale = width.fan_out / width.fan_in if optimizer == "sgd" else 1 / width.fan_in
        rates.setdefault(lr * scale, []).append(model.get_parameter(name))
    return [{"params": parameters, "lr": rate} for rate, parameters in rates.items()]


class ParametrisedMLP(nn.Module):
    """A perceptron without biases in any abc-parametrisation: ``widths`` are input, hidden, ..., output."""

    def __init__(self, widths: Sequence[int], abc: ABC, activation: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        if len(widths) != len(abc.a) + 1:
            raise ZooInvalid(
                f"widths has {len(widths)} entries, the parametrisation {len(abc.a)} layers; give one more."
            )
        self.n, self.abc, self.activation = widths[1], abc, activation
        pairs = zip(widths, widths[1:], abc.b, strict=False)
        weights = [
            torch.randn(o, i) * (self.n**-b / (math.sqrt(i) if k == 0 else 1)) for k, (i, o, b) in enumerate(pairs)
        ]
        self.weights = nn.ParameterList([nn.Parameter(w) for w in weights])

    def rate(self, eta: float) -> float:
        """The learning rate of SGD for the constant ``eta``."""
        return eta * self.n**-self.abc.c

    def features(self, x: Tensor) -> list[Tensor]:
        """Preactivations of all layers; the last ones are the outputs."""
        seen = []
        for k, (weight, a) in enumerate(zip(self.weights, self.abc.a, strict=True)):
            x = (self.activation(x) if k else x) @ (self.n**-a * weight).T
            seen.append(x)
        return seen

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)[-1]


def coordinate_check(
    abc: ABC, widths: Iterable[int], x: Tensor, y: Tensor, *, steps: int = 5, eta: float = 0.1, draws: int = 5
) -> Mapping[int, float]:
    """How far the last hidden preactivations have moved after a few steps of SGD, for each width: means over draws.

    ``x`` [n, d], ``y`` [n, o] targets of a squared error. Constant in width: features are learnt; falling as
    width^-1/2: a kernel is all that is left.
    """
    return {width: sum(_movement(abc, width, x, y, steps, eta, k) for k in range(draws)) / draws for width in widths}


def _movement(abc: ABC, width: int, x: Tensor, y: Tensor, steps: int, eta: float, seed: int) -> float:
    torch.manual_seed(seed)
    model = ParametrisedMLP((x.shape[1], *[width] * (len(abc.a) - 1), y.shape[1]), abc)
    start = model.features(x)[-2].detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=model.rate(eta))
    for _ in range(steps):
        optimizer.zero_grad()
        ((model(x) - y) ** 2).sum(1).mean().div(2).backward()
        optimizer.step()
    with torch.no_grad():
        return float((model.features(x)[-2] - start).abs().mean())


def slope(points: Mapping[int, float]) -> float:
    """The exponent of a power law through the points, by least squares of logarithms."""
    logs = torch.tensor([[math.log(n), math.log(v)] for n, v in points.items()], dtype=torch.float64)
    x, y = (logs - logs.mean(0)).T
    return float((x * y).sum() / (x * x).sum())


__all__ = [
    "ABC",
    "ParametrisedMLP",
    "Verdict",
    "Widths",
    "apply_mup",
    "coordinate_check",
    "mup_param_groups",
    "slope",
    "widths_of",
]
