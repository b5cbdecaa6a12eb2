"""Scalable neural network kernels: layers whose inputs and weights meet in one dot product (docs/zoo/snnk.md)."""

from ._bundle import ArcCosineFeatures, BundledClassifier, BundledNet, BundledRegressor, bundle, gram_solve
from ._example import SYSTEM, adapt, errors, picture, summary
from ._features import SPECTRA, DualFeatures, Spectrum, UniversalRandomFeatures, arc_cosine, directions, urf_features
from ._layers import SNNKAdapter, SNNKLinear, snnkify

__all__ = [
    "SPECTRA",
    "SYSTEM",
    "ArcCosineFeatures",
    "BundledClassifier",
    "BundledNet",
    "BundledRegressor",
    "DualFeatures",
    "SNNKAdapter",
    "SNNKLinear",
    "Spectrum",
    "UniversalRandomFeatures",
    "adapt",
    "arc_cosine",
    "bundle",
    "directions",
    "errors",
    "gram_solve",
    "picture",
    "snnkify",
    "summary",
    "urf_features",
]
