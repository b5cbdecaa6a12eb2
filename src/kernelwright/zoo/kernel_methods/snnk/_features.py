"""Random features that part inputs from weights: f(w.x + b) as one dot product of a map of x and a map of (w, b)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ....errors import ZooInvalid

Activation = Callable[[torch.Tensor], torch.Tensor]
Split = Literal["input", "even"]
_TANH_NODES, _TANH_LIMIT = 16, 1.2  # midpoint rule for tanh's spectrum: the error stays below 1e-5 where |z| <= 3


@dataclass(frozen=True)
class Spectrum:
    """f(z) = Re sum_k amplitude_k exp(i frequency_k z): a Fourier transform as finitely many, maybe complex, terms."""

    frequencies: tuple[complex, ...]
    amplitudes: tuple[complex, ...]

    def __post_init__(self) -> None:
        if not self.frequencies or len(self.frequencies) != len(self.amplitudes):
            counts = f"{len(self.frequencies)} frequencies and {len(self.amplitudes)} amplitudes"
            raise ZooInvalid(f"The spectrum has {counts}; there must be as many of both, at least one.")

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """The function itself, for real z of any shape."""
        kind = torch.complex64 if z.dtype == torch.float32 else torch.complex128
        frequency, amplitude = (torch.tensor(v, dtype=kind) for v in (self.frequencies, self.amplitudes))
        return (amplitude * torch.exp(1j * frequency * z.unsqueeze(-1))).sum(-1).real

    def shares(self) -> torch.Tensor:
        """How often each term is drawn [k]: by amplitude; slow odd terms, which are near 0 themselves, less often."""
        pairs = zip(self.amplitudes, self.frequencies, strict=True)
        size = torch.tensor([abs(a.real) + abs(a.imag) * min(1.0, abs(f)) for a, f in pairs], dtype=torch.float64)
        return size / size.sum()


def _tanh() -> Spectrum:
    """tanh(z) = int_0^inf 2 pi / sinh(pi² xi) sin(2 pi xi z) d xi, by the midpoint rule in xi."""
    step = _TANH_LIMIT / _TANH_NODES
    nodes = [(k + 0.5) * step for k in range(_TANH_NODES)]
    weights = [step * 2 * math.pi / math.sinh(math.pi**2 * xi) for xi in nodes]
    return Spectrum(tuple(2 * math.pi * xi + 0j for xi in nodes), tuple(-1j * w for w in weights))


SPECTRA = {
    "cos": Spectrum((1 + 0j,), (1 + 0j,)),
    "sin": Spectrum((1 + 0j,), (-1j,)),
    "tanh": _tanh(),
    "exp": Spectrum((-1j,), (1 + 0j,)),
}


def directions(count: int, dim: int, orthogonal: bool = True, generator: torch.Generator | None = None) -> torch.Tensor:
    """Gaussian directions [count, dim]; ``orthogonal``: in blocks of dim rows at right angles, norms drawn anew."""
    gaussian = torch.randn(count, dim, generator=generator)
    if not orthogonal:
        return gaussian
    square, upper = torch.linalg.qr(torch.randn(-(-count // dim), dim, dim, generator=generator))
    square = square * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # without it rotations are not uniform
    return square.reshape(-1, dim)[:count] * gaussian.norm(dim=1, keepdim=True)


def urf_features(
    x: torch.Tensor, directions: torch.Tensor, real: torch.Tensor, imaginary: torch.Tensor, m_param: float = 0.0
) -> torch.Tensor:
    """phi(rho_k x) [..., 2m], reals first, for x [..., d], directions g_k [m, d] and rho = real + i imaginary [m].

    phi(u) = (1 + 4M)^(d/4) exp(sqrt(1 + 4M) g.u - M |g|² - u.u / 2), so E[phi(u) phi(v)] = exp(u.v), all in real
    arithmetic. Divided by sqrt(m), so that sums over features are means.
    """
    m, d = directions.shape
    scale = math.sqrt(1 + 4 * m_param)
    projected = scale * (x @ directions.mT)
    half = x.square().sum(-1, keepdim=True) / 2
    constant = d / 4 * math.log(1 + 4 * m_param) - math.log(m) / 2 - m_param * directions.square().sum(-1)
    size = torch.exp(real * projected - (real.square() - imaginary.square()) * half + constant)
    angle = imaginary * projected - 2 * real * imaginary * half
    return torch.cat([size * angle.cos(), size * angle.sin()], dim=-1)


class UniversalRandomFeatures(nn.Module):
    """f(w.x + b) = E[input_map(x) . weight_map(w, b)] for f with a :class:`Spectrum` (arXiv 2310.13225, section 3).

    Each of ``num_features`` draws has one direction and one term of the spectrum; terms are dealt out in proportion,
    with one random offset. ``split`` says who gets the complex factor: "even" (rho = eta = sqrt(i omega), variance
    about exp(omega (|x|² + |w|²))) or "input" (rho = i omega, eta = 1, about exp(omega² |x|² + |w|²), better only for
    slow terms). Keep norms near 1 or below. ``m_param`` M >= 0 damps long directions. Directions and terms are
    buffers: they move and are saved with the module. Maps have 2 num_features columns.

    >>> features = UniversalRandomFeatures(3, 1000, "cos")
    >>> features.input_map(torch.zeros(5, 3)).shape
    torch.Size([5, 2000])
    """

    directions: torch.Tensor
    rho: torch.Tensor
    eta: torch.Tensor
    frequency: torch.Tensor
    amplitude: torch.Tensor

    def __init__(
        self,
        in_features: int,
        num_features: int,
        spectrum: str | Spectrum = "cos",
        split: Split = "even",
        m_param: float = 0.0,
        orthogonal: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_sizes(in_features, num_features)
        if isinstance(spectrum, str) and spectrum not in SPECTRA:
            raise ZooInvalid(f"spectrum is {spectrum!r}; it is one of {', '.join(SPECTRA)}, or a Spectrum.")
        if split not in ("input", "even"):
            raise ZooInvalid(f"split is {split!r}; it is 'input' or 'even'.")
        if not m_param >= 0:
            raise ZooInvalid(f"m_param is {m_param}; it is at least 0.")
        self.m_param = m_param
        terms = SPECTRA[spectrum] if isinstance(spectrum, str) else spectrum
        shares = terms.shares()
        offset = torch.rand(1, generator=generator, dtype=torch.float64)
        places = (torch.arange(num_features, dtype=torch.float64) + offset) / num_features
        drawn = torch.searchsorted(shares.cumsum(0), places).clamp(max=len(shares) - 1)
        drawn = drawn[torch.randperm(num_features, generator=generator)]  # no term keeps to one block of directions
        frequency = torch.tensor(terms.frequencies)[drawn]
        rho = 1j * frequency if split == "input" else torch.sqrt(1j * frequency)
        eta = torch.ones_like(rho) if split == "input" else rho
        amplitude = torch.tensor(terms.amplitudes)[drawn] / shares[drawn]
        kind = torch.get_default_dtype()
        for name, value in (("rho", rho), ("eta", eta), ("frequency", frequency), ("amplitude", amplitude)):
            self.register_buffer(name, torch.stack([value.real, value.imag]).to(kind))
        self.register_buffer("directions", directions(num_features, in_features, orthogonal, generator))

    @property
    def size(self) -> int:
        """Columns of both maps."""
        return 2 * self.directions.shape[0]

    def input_map(self, x: torch.Tensor) -> torch.Tensor:
        """Phi(x) [..., 2m] of inputs [..., d]."""
        return urf_features(x, self.directions, self.rho[0], self.rho[1], self.m_param)

    def weight_map(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Psi(w, b) [out, 2m] of weights [out, d], biases [out]; signs make the dot product with Phi the real part."""
        features = urf_features(weight, self.directions, self.eta[0], self.eta[1], self.m_param)
        real, imaginary = features.chunk(2, dim=-1)
        shift = torch.zeros(len(weight), 1).to(weight) if bias is None else bias.unsqueeze(-1)
        size = torch.exp(-self.frequency[1] * shift)
        cosine, sine = size * torch.cos(self.frequency[0] * shift), size * torch.sin(self.frequency[0] * shift)
        c, s = (
            self.amplitude[0] * cosine - self.amplitude[1] * sine,
            self.amplitude[0] * sine + self.amplitude[1] * cosine,
        )
        return torch.cat([c * real - s * imaginary, -(c * imaginary + s * real)], dim=-1)

    forward = input_map


class DualFeatures(nn.Module):
    """Phi = Psi = a(G x) / sqrt(m): for ReLU the mean of the dot product is the arc-cosine kernel of order 1.

    This is not relu(w.x) but a richer function of both norms and the angle, the one used for fine-tuning in the
    paper. ``bias`` appends the constant 1 to inputs and the bias to weights.
    """

    directions: torch.Tensor

    def __init__(
        self,
        in_features: int,
        num_features: int,
        activation: Activation = torch.relu,
        bias: bool = False,
        orthogonal: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_sizes(in_features, num_features)
        self.activation, self.bias = activation, bias
        self.register_buffer("directions", directions(num_features, in_features + bias, orthogonal, generator))

    @property
    def size(self) -> int:
        """Columns of both maps."""
        return self.directions.shape[0]

    def input_map(self, x: torch.Tensor) -> torch.Tensor:
        """Phi(x) [..., m] of inputs [..., d]."""
        constant = self.directions[:, -1] if self.bias else None
        return self.activation(nn.functional.linear(x, self.directions[:, : x.shape[-1]], constant)) / math.sqrt(
            self.size
        )

    def weight_map(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Psi(w, b) [out, m] of weights [out, d] and biases [out]."""
        if (bias is not None) and not self.bias:
            raise ZooInvalid("bias is given, but these features were made with bias=False.")
        projected = weight @ self.directions[:, : weight.shape[1]].mT
        if bias is not None:
            projected = projected + bias.unsqueeze(-1) * self.directions[:, -1]
        return self.activation(projected) / math.sqrt(self.size)

    forward = input_map


def arc_cosine(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """E[relu(g.x) relu(g.w)] = |x| |w| (sin t + (pi - t) cos t) / (2 pi) for x [n, d] and w [m, d]: [n, m]."""
    lengths = x.norm(dim=-1)[:, None] * w.norm(dim=-1)
    cosine = (x @ w.mT / lengths.clamp_min(torch.finfo(x.dtype).tiny)).clamp(-1, 1)
    angle = torch.acos(cosine)
    return lengths * (torch.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi)


def check_sizes(in_features: int, num_features: int) -> None:
    """Raises ``ZooInvalid`` where there is nothing to map or to map to."""
    if in_features < 1 or num_features < 1:
        raise ZooInvalid(f"in_features and num_features are {in_features} and {num_features}; they are at least 1.")


__all__ = [
    "SPECTRA",
    "Activation",
    "DualFeatures",
    "Spectrum",
    "Split",
    "UniversalRandomFeatures",
    "arc_cosine",
    "directions",
    "urf_features",
]
