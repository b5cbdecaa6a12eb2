"""What the paper claims, at the size of digits: unbiased features, a net in closed form, small adapters."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..._system import HotOperation, Measured, Result, System, Track
from ...common import COLOURS, accuracy, axes, legend, load, mlp, train
from ._bundle import BundledClassifier
from ._features import SPECTRA, DualFeatures, UniversalRandomFeatures, arc_cosine, directions, urf_features
from ._layers import SNNKAdapter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (64, 256, 1024, 4096)
SNNK_SIZES, BOTTLENECK_SIZES = (2, 4, 8, 16, 32), (2, 5, 11, 22, 46)
_OURS, _THEIRS = 16, 46  # 5 times as many parameters in a bottleneck


def errors(name: str, size: int, draws: int, norm: float = 0.75, seed: int = 0) -> tuple[float, float]:
    """Root mean square error of the estimate of f(w.x + b), and |mean error| in standard errors, for 8 pairs (x, w)."""
    generator = torch.Generator().manual_seed(seed)
    x, w = (nn.functional.normalize(torch.randn(8, 16, generator=generator)) * norm for _ in range(2))
    bias = None if name == "relu" else torch.linspace(-0.5, 0.5, 8)
    exact = arc_cosine(x, w).diagonal() if bias is None else SPECTRA[name]((x * w).sum(-1) + bias)
    found = []
    for _ in range(draws):
        features: DualFeatures | UniversalRandomFeatures
        if name == "relu":
            features = DualFeatures(16, size, generator=generator)
        else:
            features = UniversalRandomFeatures(16, size, name, generator=generator)
        found.append((features.input_map(x) * features.weight_map(w, bias)).sum(-1) - exact)
    error = torch.stack(found)
    bias_in_errors = error.mean(0).abs() / (error.std(0) / draws**0.5)
    return float(error.square().mean().sqrt()), float(bias_in_errors.mean())


class _Residual(nn.Module):
    """Two residual blocks between an input and an output layer; a place for an adapter after each block."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(64, width), nn.Linear(width, classes)
        self.blocks = nn.ModuleList(mlp([width, width, width]) for _ in range(2))
        self.adapters = nn.ModuleList(nn.Identity() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block, adapter in zip(self.blocks, self.adapters, strict=True):
            x = adapter(x + block(x))
        return self.head(x)


class _Bottleneck(nn.Module):
    """The ordinary adapter: down, ReLU, up, added; up starts at 0."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.up(torch.relu(self.down(x)))


@dataclass(frozen=True)
class Adapted:
    """Test accuracy on the new classes of one kind of adapter, and the parameters of both of its copies."""

    kind: str
    parameters: int
    accuracy: float


def adapt(seed: int, epochs: int = 50, sweep: bool = True) -> list[Adapted]:
    """Train on digits 0-4, freeze, then adapt to 5-9 with a new head and adapters of several sizes, or none."""
    split = load("digits", seed=seed, scale="unit")
    old, new, held = split.train_y < 5, split.train_y >= 5, split.test_y >= 5
    torch.manual_seed(seed)
    base = _Residual(64, 5)
    train(base, split.train_x[old], split.train_y[old], epochs=20, seed=seed)
    ours, theirs = (SNNK_SIZES, BOTTLENECK_SIZES) if sweep else ((_OURS,), (_THEIRS,))
    kinds = [("none", 0), *(("snnk", size) for size in ours), *(("bottleneck", size) for size in theirs)]
    found = []
    for kind, size in kinds:
        model = copy.deepcopy(base).requires_grad_(False)
        torch.manual_seed(100 + seed)
        model.head = nn.Linear(64, 5)
        if kind == "snnk":
            model.adapters = nn.ModuleList(SNNKAdapter(64, size, norm=True) for _ in range(2))
        elif kind == "bottleneck":
            model.adapters = nn.ModuleList(_Bottleneck(64, size) for _ in range(2))
        train(model, split.train_x[new], split.train_y[new] - 5, epochs=epochs, lr=1e-2, seed=seed)
        count = sum(p.numel() for p in model.adapters.parameters())
        found.append(Adapted(kind, count, accuracy(model, split.test_x[held], split.test_y[held] - 5)))
    return found


def closed_form(seed: int) -> tuple[float, float]:
    """Test accuracy on digits of a bundled net with 512 features, solved, and of a two-layer one that was trained."""
    split = load("digits", seed=seed)
    solved = BundledClassifier(512, random_state=seed).fit(split.train_x.numpy(), split.train_y.numpy())
    torch.manual_seed(seed)
    model = mlp([64, 128, 10])
    train(model, split.train_x, split.train_y, epochs=30, lr=2e-3, seed=seed)
    return float(solved.score(split.test_x.numpy(), split.test_y.numpy())), accuracy(model, split.test_x, split.test_y)


def summary(
    curves: dict[str, list[float]], biases: dict[str, float], solved: list[tuple[float, float]], adapted: list[Adapted]
) -> tuple[Measured, ...]:
    """Slopes and biases of the features, the closed form against training, adapters against larger bottlenecks."""
    rows = []
    for name, curve in curves.items():
        slope = float(np.polyfit(np.log(SIZES), np.log(curve), 1)[0])
        rows.append(Measured(f"{name}: slope of the error in m", slope, "-0.5 ± 0.1", abs(slope + 0.5) <= 0.1))
        rows.append(
            Measured(
                f"{name}: mean error in standard errors", biases[name], "0.8 for none, <= 1.5", biases[name] <= 1.5
            )
        )
    ours, trained = (float(np.mean(side)) for side in zip(*solved, strict=True))
    rows.append(Measured("digits, bundled net in closed form", ours, "trained net - 0.01", ours >= trained - 0.01))
    rows.append(Measured("digits, net trained by Adam", trained))
    small, large, none = (_mean(adapted, *pick) for pick in (("snnk", _OURS), ("bottleneck", _THEIRS), ("none", 0)))
    ratio = _count("bottleneck", _THEIRS) / _count("snnk", _OURS)
    rows.append(Measured("new digits, SNNK adapter", small, "bottleneck - 0.01", small >= large - 0.01))
    rows.append(Measured("new digits, bottleneck adapter", large))
    rows.append(Measured("new digits, new head alone", none))
    rows.append(Measured("parameters of the bottleneck over SNNK's", ratio, "about 5"))
    return tuple(rows)


def _count(kind: str, size: int) -> int:
    return 2 * {"none": 0, "snnk": 64 * (size + 3), "bottleneck": 64 * (2 * size + 1) + size}[kind]


def _mean(adapted: list[Adapted], kind: str, size: int) -> float:
    return float(np.mean([a.accuracy for a in adapted if a.kind == kind and a.parameters == _count(kind, size)]))


def picture(curves: dict[str, list[float]], adapted: list[Adapted]) -> Figure:
    """Errors by the number of features, and accuracy by the adapters' parameters."""
    figure, (left, right) = axes(1, 2, width=4.8, height=3.8)
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        left.loglog(SIZES, curve, "o-", color=colour, label=name)
    reference = curves["cos"][0] * 0.6 * (np.array(SIZES) / SIZES[0]) ** -0.5
    left.loglog(SIZES, reference, "--", color=COLOURS[4], label="slope -1/2")
    left.set(xlabel="features m", ylabel="root mean square error", title="Estimates of f(w.x + b)")
    legend(left)
    for kind, colour, label in (("snnk", COLOURS[0], "SNNK adapter"), ("bottleneck", COLOURS[1], "bottleneck")):
        counts = sorted({a.parameters for a in adapted if a.kind == kind})
        means = [np.mean([a.accuracy for a in adapted if a.kind == kind and a.parameters == c]) for c in counts]
        right.semilogx(counts, means, "o-", color=colour, label=label)
    right.axhline(_mean(adapted, "none", 0), color=COLOURS[4], linestyle="--", label="new head alone")
    right.set(xlabel="parameters of the adapters", ylabel="test accuracy", title="From digits 0-4 to digits 5-9")
    legend(right)
    return figure


def _example(track: Track) -> Result:
    curves: dict[str, list[float]] = {}
    biases = {}
    for name in track(("cos", "sin", "tanh", "relu"), "features"):
        found = [errors(name, size, 40) for size in SIZES]
        curves[name], biases[name] = [f[0] for f in found], errors(name, 64, 400, seed=1)[1]
    solved = [closed_form(seed) for seed in track(range(2), "closed form")]
    adapted = [one for seed in track(range(2), "adapters") for one in adapt(seed)]
    return Result(summary(curves, biases, solved, adapted), picture(curves, adapted))


def relu_snnk(x: torch.Tensor, directions: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The adapter: x + s (relu(x G^T) V^T / sqrt(m)) for x [n, d], G [m, d], V [d, m], s [d]."""
    return x + scale * (torch.relu(x @ directions.mT) @ weight.mT) * directions.shape[0] ** -0.5


def _arguments(rows: int, dim: int, size: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, dim, generator=generator) * dim**-0.5, directions(size, dim, generator=generator)


def _adapter_arguments() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    x, g = _arguments(4096, 768, 16)
    return x, g, torch.randn(768, 16, generator=generator), torch.randn(768, generator=generator)


def _urf_arguments() -> tuple[torch.Tensor, ...]:
    return *_arguments(4096, 64, 256), torch.zeros(256), torch.ones(256)


def feature_gram(features: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """F^T F and F^T Y of F [n, m] and Y [n, out]: what the closed form is made of."""
    return features.mT @ features, features.mT @ targets


def _gram_arguments() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4096, 512, generator=generator), torch.randn(4096, 10, generator=generator)


SYSTEM = System(
    name="snnk",
    title="Scalable Neural Network Kernels",
    source="arXiv 2310.13225",
    claim="Random features part a layer's inputs from its weights: fewer parameters, stacks that become one matrix.",
    operations=(
        HotOperation("relu_snnk", relu_snnk, _adapter_arguments),
        HotOperation("urf_features", urf_features, _urf_arguments),
        HotOperation("feature_gram", feature_gram, _gram_arguments),
    ),
    example=_example,
)

__all__ = ["SIZES", "SYSTEM", "Adapted", "adapt", "closed_form", "errors", "picture", "summary"]
