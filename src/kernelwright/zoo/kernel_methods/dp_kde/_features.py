"""Kernel sums through random Fourier features: the vector that is released, its sensitivity, how it answers.

k(x, y) = E cos(w.(x - y)) over the kernel's spectral distribution of w (Bochner), so the sum over all x of I draws of
cos(w.x) and sin(w.x) answers sum_x k(x, y) for any y. Cosines are bounded, so no bound on the data is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._noise import Floats
from ._privacy import Adjacency, Sensitivity

Spectrum = Callable[[np.random.Generator, int, int], Floats]

_ROWS = 4096  # rows whose features are held at a time


def rff_sums(x: Tensor, w: Tensor) -> Tensor:
    """Sums over the rows of ``x [n, d]`` of cos(x w) and sin(x w), ``w [d, I]``: ``[2 I]``, cosines first."""
    angles = x @ w
    return torch.cat([angles.cos().sum(0), angles.sin().sum(0)])


def rff_phase_sums(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Sums over the rows of ``x [n, d]`` of sqrt(2) cos(x w + b), ``w [d, I]``, ``b [I]``: ``[I]``."""
    return math.sqrt(2) * (x @ w + b).cos().sum(0)


def rff_answers(y: Tensor, w: Tensor, sums: Tensor) -> Tensor:
    """Kernel sums ``[q]`` at ``y [q, d]`` from :func:`rff_sums`' ``sums [2 I]``."""
    angles = y @ w
    cosines, sines = sums.chunk(2)
    return (angles.cos() @ cosines + angles.sin() @ sines) / w.shape[1]


def rff_phase_answers(y: Tensor, w: Tensor, b: Tensor, sums: Tensor) -> Tensor:
    """Kernel sums ``[q]`` at ``y [q, d]`` from :func:`rff_phase_sums`' ``sums [I]``."""
    return math.sqrt(2) * (y @ w + b).cos() @ sums / w.shape[1]


# ── spectral distributions, at bandwidth 1 ─────────────────────────────────────────────────────────────────────────


def _normal(rng: np.random.Generator, d: int, count: int) -> Floats:
    return rng.standard_normal((d, count))


def _radial_cauchy(rng: np.random.Generator, d: int, count: int) -> Floats:
    return _normal(rng, d, count) / np.abs(rng.standard_normal(count))


def _cauchy(rng: np.random.Generator, d: int, count: int) -> Floats:
    return rng.standard_cauchy((d, count))


def _mixed(base: Spectrum, power: float, factor: float) -> Spectrum:
    """1/(1 + t) is the mean of exp(-s t) over s ~ Exp(1): draw s with every frequency, scale the frequency by it."""
    return lambda rng, d, count: factor * rng.standard_exponential(count) ** power * base(rng, d, count)


@dataclass(frozen=True)
class Kernel:
    """A kernel of the difference u = (x - y) / bandwidth: its formula, in torch on ``u [..., d]``, and its spectrum."""

    formula: Callable[[Tensor], Tensor]
    frequencies: Spectrum  # (rng, d, count) -> [d, count]


KERNELS: dict[str, Kernel] = {
    "gaussian": Kernel(lambda u: (-u.square().sum(-1) / 2).exp(), _normal),
    "exponential": Kernel(lambda u: (-u.norm(dim=-1)).exp(), _radial_cauchy),
    "laplacian": Kernel(lambda u: (-u.abs().sum(-1)).exp(), _cauchy),
    "cauchy": Kernel(lambda u: 1 / (1 + u.square().sum(-1)), _mixed(_normal, 0.5, math.sqrt(2))),
    "inverse-l2": Kernel(lambda u: 1 / (1 + u.norm(dim=-1)), _mixed(_radial_cauchy, 1.0, 1.0)),
    "inverse-l1": Kernel(lambda u: 1 / (1 + u.abs().sum(-1)), _mixed(_cauchy, 1.0, 1.0)),
}


@dataclass(frozen=True)
class Sketch:
    """I random frequencies (and phases, in the form of the paper). Public: drawn without looking at the data.

    Both forms have the same sensitivity. The paper's form keeps one number a frequency, sqrt(2) cos(w.x + b); "pair"
    keeps two, cos(w.x) and sin(w.x), whose answer is cos(w.(x - y)) itself, free of the phase's variance.
    """

    w: Tensor  # [d, I] float64
    b: Tensor | None  # [I] float64, None for "pair"

    @classmethod
    def draw(cls, rng: np.random.Generator, kernel: str, d: int, count: int, bandwidth: float, form: str) -> Sketch:
        w = torch.from_numpy(KERNELS[kernel].frequencies(rng, d, count) / bandwidth)
        return cls(w, torch.from_numpy(rng.uniform(0, 2 * math.pi, count)) if form == "phase" else None)

    def sums(self, x: Tensor) -> Floats:
        """The vector whose entries are sums over rows: ``[I]`` for phases, ``[2 I]`` for pairs."""
        if self.b is None:
            parts = [rff_sums(block, self.w) for block in x.split(_ROWS)]
        else:
            parts = [rff_phase_sums(block, self.w, self.b) for block in x.split(_ROWS)]
        return torch.stack(parts).sum(0).numpy()

    def sensitivity(self, adjacency: Adjacency) -> Sensitivity:
        """One row adds at most sqrt(2) to a frequency's |.|: sqrt(2) |cos| <= sqrt(2), |cos| + |sin| <= sqrt(2).

        In l2 a pair adds exactly 1, a phase at most sqrt(2). A replaced row counts twice.
        """
        count, twice = self.w.shape[1], 1 + (adjacency == "replace-one")
        l2 = math.sqrt(count) if self.b is None else math.sqrt(2 * count)
        return Sensitivity(twice * math.sqrt(2) * count, twice * l2)

    def answers(self, y: Tensor, sums: Tensor) -> Tensor:
        """Kernel sums ``[q]`` at ``y [q, d]``."""
        blocks = y.split(_ROWS)
        if self.b is None:
            return torch.cat([rff_answers(block, self.w, sums) for block in blocks])
        return torch.cat([rff_phase_answers(block, self.w, self.b, sums) for block in blocks])


def gaussian_sums(x: Tensor, y: Tensor) -> Tensor:
    """sum_x exp(-|x - y|^2 / 2) for ``x [n, d]`` at ``y [q, d]``: ``[q]``; the exact sums that sketches stand for."""
    square = y.square().sum(1, keepdim=True) + x.square().sum(1) - 2 * y @ x.t()
    return (-square / 2).exp().sum(1)


def kernel_sums(x: Tensor, y: Tensor, kernel: str = "gaussian", bandwidth: float = 1.0) -> Tensor:
    """What is approximated: sum over the rows of ``x [n, d]`` of k((x - y) / bandwidth), at ``y [q, d]``: ``[q]``.

    >>> kernel_sums(torch.zeros(3, 2), torch.zeros(1, 2))
    tensor([3.])
    """
    return torch.cat([KERNELS[kernel].formula((row - x) / bandwidth).sum(-1, keepdim=True) for row in y])


__all__ = [
    "KERNELS",
    "Sketch",
    "gaussian_sums",
    "kernel_sums",
    "rff_answers",
    "rff_phase_answers",
    "rff_phase_sums",
    "rff_sums",
]
