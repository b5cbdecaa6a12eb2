"""Deep kernel machines as torch modules: Gram blocks go in, Gram blocks come out, minibatches of any size between.

Gram matrices are kept whitened: G = L A A' L', with L the Cholesky factor of the kernel below and A lower triangular.
Then KL(N(0, G) || N(0, K)) = (|A|^2 - P) / 2 - sum log diag A needs neither an inverse nor K, A = 1 is the kernel
machine without learned representations (NNGP), and gradients are well scaled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ....errors import ZooInvalid
from ._kernels import GramBlocks, cholesky, input_blocks, kernel_blocks

_JITTER = {torch.float64: 1e-8, torch.float32: 1e-4}


def triangle(raw: Tensor) -> Tensor:
    """A lower triangular matrix with positive diagonal: exp of the diagonal of ``raw [P, P]``, its part below."""
    return raw.tril(-1) + raw.diagonal().exp().diag()


def whitened_kl(raw: Tensor) -> Tensor:
    """KL(N(0, L A A' L') || N(0, L L')) for A = triangle(raw): a scalar, 0 at raw = 0, whatever L is."""
    below = raw.tril(-1).square().sum()
    diagonal = raw.diagonal()
    return (below + (2 * diagonal).exp().sum() - len(raw)) / 2 - diagonal.sum()


def propagate(k: GramBlocks, raw: Tensor, jitter: float) -> GramBlocks:
    """Blocks of G given those of K: G_ti = K_ti K_ii^-1 G_ii, and the diagonal of G_tt with what K_ii leaves open."""
    lower, factor = cholesky(k.ii, jitter), triangle(raw)
    scaled = lower @ factor
    solved = torch.linalg.solve_triangular(lower, k.ti.t(), upper=False)  # [P, B]
    mixed = factor.t() @ solved
    open_part = (k.t - solved.square().sum(0)).clamp(min=0)  # negative by rounding alone
    return GramBlocks(scaled @ scaled.t(), mixed.t() @ scaled.t(), open_part + mixed.square().sum(0))


class InputGram(nn.Module):
    """Gram blocks of inputs ``[B, d]`` with learned inducing inputs, initialised to ``inducing [P, d]``."""

    def __init__(self, inducing: Tensor) -> None:
        super().__init__()
        self.inducing = nn.Parameter(inducing.detach().clone())

    def forward(self, x: Tensor) -> GramBlocks:
        return input_blocks(self.inducing, x)


class KernelLayer(nn.Module):
    """A kernel of Gram blocks: "arccos", "rbf" or "linear"."""

    def __init__(self, kernel: str = "arccos") -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, blocks: GramBlocks) -> GramBlocks:
        return kernel_blocks(self.kernel, blocks)

    def extra_repr(self) -> str:
        return self.kernel


class GramNorm(nn.Module):
    """Divides Gram blocks by the mean diagonal of the inducing block, times a learned scale."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros((), dtype=dtype))

    def forward(self, g: GramBlocks) -> GramBlocks:
        factor = self.log_scale.exp() / g.ii.diagonal().mean()
        return GramBlocks(g.ii * factor, g.ti * factor, g.t * factor)


class GramLayer(nn.Module):
    """One layer's Gram matrix over P inducing points; ``nu`` is how strongly it is held to the kernel below.

    ``nu`` inf fixes it to the kernel below (the NNGP); its regulariser is -nu KL(N(0, G) || N(0, K)).
    """

    def __init__(self, points: int, nu: float, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if not nu > 0:
            raise ZooInvalid(f"nu is {nu!r}; it must be positive.")
        self.nu = nu
        self.raw = nn.Parameter(torch.zeros(points, points, dtype=dtype), requires_grad=math.isfinite(nu))

    def forward(self, k: GramBlocks) -> GramBlocks:
        return propagate(k, self.raw, _JITTER[self.raw.dtype]) if math.isfinite(self.nu) else k

    def regulariser(self) -> Tensor:
        return -self.nu * whitened_kl(self.raw) if math.isfinite(self.nu) else self.raw.new_zeros(())


class SparseGPHead(nn.Module):
    """Outputs as sparse variational Gaussian processes over the last kernel: N(L mean, L S S' L'), S shared."""

    def __init__(self, points: int, outputs: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(points, outputs, dtype=dtype))
        self.raw = nn.Parameter(torch.zeros(points, points, dtype=dtype))

    def forward(self, k: GramBlocks) -> tuple[Tensor, Tensor]:
        """Means ``[B, outputs]`` and the variance ``[B]`` that all outputs share."""
        lower = cholesky(k.ii, _JITTER[self.raw.dtype])
        solved = torch.linalg.solve_triangular(lower, k.ti.t(), upper=False)
        spread = (triangle(self.raw).t() @ solved).square().sum(0)
        return solved.t() @ self.mean, (k.t - solved.square().sum(0)).clamp(min=0) + spread

    def regulariser(self) -> Tensor:
        """-KL of all outputs to the prior N(0, K)."""
        return -self.mean.shape[1] * whitened_kl(self.raw) - self.mean.square().sum() / 2


def dkm_regulariser(module: nn.Module) -> Tensor:
    """The sum of the regularisers of all layers and the head; to be divided by the number of training rows, once."""
    return torch.stack([m.regulariser() for m in module.modules() if isinstance(m, GramLayer | SparseGPHead)]).sum()


class SparseDKM(nn.Module):
    """Input Gram, kernel, ``depth`` times (Gram layer, norm, kernel), head; costs O(P^2 B + P^3) a batch.

    >>> net = SparseDKM(torch.randn(5, 3), outputs=2, depth=1)
    >>> mean, variance = net(torch.randn(7, 3))
    >>> mean.shape, variance.shape
    (torch.Size([7, 2]), torch.Size([7]))
    """

    def __init__(self, inducing: Tensor, outputs: int, depth: int = 2, kernel: str = "arccos", nu: float = 1.0) -> None:
        super().__init__()
        if depth < 0:
            raise ZooInvalid(f"depth is {depth}; it must not be negative.")
        points, dtype = len(inducing), inducing.dtype
        if dtype not in _JITTER:
            raise ZooInvalid(f"inducing has dtype {dtype}; it must be float32 or float64.")
        layers: list[nn.Module] = [InputGram(inducing), KernelLayer(kernel)]
        for _ in range(depth):
            layers += [GramLayer(points, nu, dtype), GramNorm(dtype), KernelLayer(kernel)]
        self.layers = nn.Sequential(*layers)
        self.head = SparseGPHead(points, outputs, dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.layers(x))


__all__ = [
    "GramLayer",
    "GramNorm",
    "InputGram",
    "KernelLayer",
    "SparseDKM",
    "SparseGPHead",
    "dkm_regulariser",
    "propagate",
    "triangle",
    "whitened_kl",
]
