"""The one component that remembers old tasks: a variational autoencoder with a Gaussian prior for every class."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import ZooInvalid
from ._head import gaussian_kl


def supervised_contrast(latents: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Mean over anchors of -1/|P(i)| Σ_{p in P(i)} log softmax_{a ≠ i}(<u_i, u_a> / T)_p (arXiv 2004.11362, eq. 2).

    ``latents`` [n, d] are put on the unit sphere, P(i) are the others of i's label [n]; anchors without any are left
    out, and 0 is what remains of none.

    >>> supervised_contrast(torch.eye(2), torch.tensor([0, 1])).item()
    0.0
    """
    unit = functional.normalize(latents, dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similar = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    logs = functional.log_softmax(similar, dim=1).masked_fill(itself, 0.0)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    count = positive.sum(1)
    anchors = count > 0
    if not bool(anchors.any()):
        return latents.sum() * 0.0
    return -((logs * positive).sum(1)[anchors] / count[anchors]).mean()


class ClassConditionalVAE(nn.Module):
    """q(z|x) = N(mu(x), diag s²(x)), p(x|z) = N(decoder(z), noise² I), p(z|class) = N(m, diag v) with m, v learned.

    ``encoder`` maps images [n, ...] to [n, 2 z_dim] (mean, raw variance), ``decoder`` [n, z_dim] back to images.
    ``contrast`` weighs :func:`supervised_contrast` of the means in ``loss``. Variances are bounded from below by 1e-3,
    else samples shrink to class means and Gram matrices become singular. Raises ``ZooInvalid``.

    >>> vae = ClassConditionalVAE(nn.Linear(4, 6), nn.Linear(3, 4), n_classes=2, z_dim=3)
    >>> vae.sample([1], 5).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        n_classes: int = 0,
        z_dim: int = 32,
        contrast: float = 0.1,
        temperature: float = 0.1,
        *,
        noise: float = 0.2,
        min_variance: float = 1e-3,
    ) -> None:
        super().__init__()
        if z_dim < 1 or noise <= 0 or contrast < 0 or temperature <= 0:
            raise ZooInvalid(
                "z_dim is at least 1, noise and temperature above 0 and contrast not below 0, not "
                f"{z_dim}, {noise}, {temperature} and {contrast}."
            )
        self.encoder, self.decoder = encoder, decoder
        self.z_dim, self.contrast, self.temperature = z_dim, contrast, temperature
        self.noise, self.min_variance = noise, min_variance
        self.prior_mean = nn.Parameter(torch.empty(0, z_dim))
        self.prior_raw = nn.Parameter(torch.empty(0, z_dim))
        if n_classes:
            self.add_classes(n_classes)

    @property
    def n_classes(self) -> int:
        return len(self.prior_mean)

    def add_classes(self, k: int) -> None:
        """Priors for ``k`` more classes, drawn from the process's random numbers; those there are stay as they are."""
        fresh = torch.randn(k, self.z_dim).to(self.prior_mean)
        raw = torch.full((k, self.z_dim), 0.54).to(fresh)  # softplus gives 1
        self.prior_mean = nn.Parameter(torch.cat([self.prior_mean.detach(), fresh]))
        self.prior_raw = nn.Parameter(torch.cat([self.prior_raw.detach(), raw]))

    def freeze_copy(self) -> ClassConditionalVAE:
        """A copy in evaluation mode without gradients: who is replayed while the live one learns."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def _variance(self, raw: Tensor) -> Tensor:
        return functional.softplus(raw) + self.min_variance

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance [n, z_dim] of q(z|x)."""
        mean, raw = self.encoder(x).chunk(2, dim=1)
        return mean, self._variance(raw)

    def prior(self, class_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance [n, z_dim] of p(z|class)."""
        return self.prior_mean[class_ids], self._variance(self.prior_raw[class_ids])

    def loss(self, x: Tensor, class_ids: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """-log p(x|z) (without its constant) + KL(q ‖ class prior), averaged over images, + contrast."""
        mean, variance = self.encode(x)
        z = mean + variance.sqrt() * torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        misfit = (self.decoder(z) - x).flatten(1).square().sum(1) / (2 * self.noise**2)
        total = (misfit + gaussian_kl(mean, variance, *self.prior(class_ids))).mean()
        if self.contrast:
            total = total + self.contrast * supervised_contrast(mean, class_ids, self.temperature)
        return total

    @torch.no_grad()
    def sample(self, class_ids: list[int], n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` images of each class in turn: [len(class_ids) · n, ...]."""
        if n < 1 or any(not 0 <= c < self.n_classes for c in class_ids):
            raise ZooInvalid(
                f"n is {n} and the classes {class_ids}; there are {self.n_classes} classes, n is at least 1."
            )
        mean, variance = self.prior(torch.tensor(class_ids).repeat_interleave(n))
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        images = self.decoder(mean + variance.sqrt() * noise)
        assert isinstance(images, Tensor)
        return images


__all__ = ["ClassConditionalVAE", "supervised_contrast"]
