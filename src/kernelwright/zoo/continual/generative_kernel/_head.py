"""A classifier in closed form on a handful of support points, differentiable in all that it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ....errors import ZooInvalid
from ....ops import gaussian
from ...common._ridge import ridge_solve

Grams = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (support, query) to (K(S, S), K(Q, S))

_LENGTH = 0.25  # of the published code's exponent


def linear(q: Tensor, s: Tensor) -> Tensor:
    """<q, s> [b, n] of rows [b, D] and [n, D]."""
    return q @ s.mT


def poly(q: Tensor, s: Tensor) -> Tensor:
    """(<q, s> + 1)³."""
    return (q @ s.mT + 1) ** 3


def laplacian(q: Tensor, s: Tensor) -> Tensor:
    """exp(-|q - s|₁ / 4): what the published code of kernel continual learning calls its rbf kernel."""
    return torch.exp(-_LENGTH * torch.cdist(q, s, p=1))


def rbf(q: Tensor, s: Tensor) -> Tensor:
    """exp(-|q - s|² / 4)."""
    return gaussian(q, s, bandwidth=math.sqrt(1 / (2 * _LENGTH))).dense()


KERNELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": linear,
    "poly": poly,
    "laplacian": laplacian,
    "rbf": rbf,
}


class VariationalFourier(nn.Module):
    """Random Fourier features whose frequencies depend on the support (Kernel Continual Learning, ICML 2021).

    The rows of W [R, D] are drawn from N(mu, diag sigma²), (mu, log sigma²) a network of the mean support feature;
    ``kl`` is the distance from a prior that another network makes of the mean query feature. While training, W is
    drawn anew in every call; in evaluation the draw is fixed by ``seed``.

    >>> ss, qs = VariationalFourier(3, 8)(torch.zeros(4, 3), torch.zeros(2, 3))
    >>> ss.shape, qs.shape
    (torch.Size([4, 4]), torch.Size([2, 4]))
    """

    noise: Tensor
    phase: Tensor

    def __init__(self, n_features: int, n_fourier: int = 512, *, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.posterior, self.prior = (
            nn.Sequential(
                nn.Linear(n_features, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(),
                nn.Linear(hidden, 2 * n_features),
            )
            for _ in range(2)
        )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("noise", torch.randn(n_fourier, n_features, generator=generator))
        self.register_buffer("phase", 2 * math.pi * torch.rand(n_fourier, generator=generator))

    def forward(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.posterior(support.mean(0)).chunk(2)
        noise = torch.randn_like(self.noise) if self.training else self.noise
        frequencies = mean + noise * torch.exp(log_variance / 2)

        def lift(x: Tensor) -> Tensor:
            return math.sqrt(2 / len(frequencies)) * torch.cos(x @ frequencies.T + self.phase)

        lifted = lift(support)
        return lifted @ lifted.T, lift(query) @ lifted.T

    def kl(self, support: Tensor, query: Tensor) -> Tensor:
        """KL(posterior of the support ‖ prior of the query), a number."""
        mean, log_variance = self.posterior(support.mean(0)).chunk(2)
        prior_mean, prior_log = self.prior(query.mean(0)).chunk(2)
        return gaussian_kl(mean, log_variance.exp(), prior_mean, prior_log.exp())


def gaussian_kl(mean: Tensor, variance: Tensor, prior_mean: Tensor, prior_variance: Tensor) -> Tensor:
    """KL(N(mean, diag variance) ‖ N(prior_mean, diag prior_variance)) [...] of tensors [..., z]."""
    ratio = variance / prior_variance
    return 0.5 * (ratio - ratio.log() - 1 + (mean - prior_mean).square() / prior_variance).sum(-1)


class KernelRidgeHead(nn.Module):
    """logits = g · K(Q, S) (K(S, S) + (|lmd| + ``reg``) I)^{-1} Y + b, with three learned numbers lmd, g and b.

    ``kernel``: "linear", "poly", "laplacian", "rbf" or "rff" (:class:`VariationalFourier`, which needs
    ``n_features``), or a function of (support, query) that gives K(S, S) and K(Q, S). Support [n, D], its targets
    [n, C], query [b, D]; logits [b, C]. ``learn_reg=False`` fixes lmd at 0. Raises ``ZooInvalid``.

    >>> head = KernelRidgeHead("linear", reg=1e-6, learn_reg=False)
    >>> head(torch.eye(2), torch.eye(2), torch.eye(2)).argmax(1)
    tensor([0, 1])
    """

    lmd: Tensor

    def __init__(
        self,
        kernel: str | Grams = "linear",
        reg: float = 0.01,
        learn_reg: bool = True,
        *,
        n_features: int | None = None,
    ) -> None:
        super().__init__()
        if reg < 0:
            raise ZooInvalid(f"reg is {reg}; it must be at least 0.")
        self.grams = _grams(kernel, n_features)
        self.reg = reg
        if learn_reg:
            self.lmd = nn.Parameter(torch.tensor(0.1))
        else:
            self.register_buffer("lmd", torch.tensor(0.0))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, support: Tensor, support_y: Tensor, query: Tensor) -> Tensor:
        if support.shape[0] != support_y.shape[0] or support.shape[-1] != query.shape[-1]:
            raise ZooInvalid(
                "A support [n, D], its targets [n, C] and a query [b, D] are needed, not "
                f"{tuple(support.shape)}, {tuple(support_y.shape)} and {tuple(query.shape)}."
            )
        gram, cross = self.grams(support, query)
        solution = ridge_solve(gram, support_y, (self.lmd.abs() + self.reg).to(gram))
        return self.scale * (cross @ solution) + self.bias


def _grams(kernel: str | Grams, n_features: int | None) -> Grams:
    if not isinstance(kernel, str):
        return kernel
    if kernel == "rff":
        if n_features is None:
            raise ZooInvalid("kernel 'rff' needs n_features, the width of what it is given.")
        return VariationalFourier(n_features)
    if kernel not in KERNELS:
        raise ZooInvalid(f"kernel is {kernel!r}; there are {', '.join(KERNELS)} and rff.")
    function = KERNELS[kernel]
    return lambda support, query: (function(support, support), function(query, support))


__all__ = ["KernelRidgeHead", "VariationalFourier", "gaussian_kl"]
