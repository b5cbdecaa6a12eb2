"""Networks of infinite width in closed form: covariance, tangent kernel, and their training at any time.

Jacot, Gabriel and Hongler 2018, "Neural Tangent Kernel: Convergence and Generalization in Neural Networks".
"""

from __future__ import annotations

import torch

from ..._system import HotOperation, System
from ._dynamics import Spectrum, empirical_ntk_dense, learnt, spectral_filter_apply
from ._estimators import NTKClassifier, NTKKernelPCA, NTKRegressor
from ._example import circle, example, kernels_on_circle
from ._gram import InfiniteNetwork, dual_activation, mlp, nngp, ntk, ntk_matvec, relu_ntk_gram, serial
from ._infinite import Dense, Elementwise, Erf, Kernel, Relu
from ._network import NTKMLP, Linearized, NTKLinear, empirical_ntk, linearize


def _gram_arguments() -> tuple[torch.Tensor, ...]:
    return torch.randn(512, 64), torch.randn(768, 64)


def _dense_arguments() -> tuple[torch.Tensor, ...]:
    return torch.randn(256, 64), torch.randn(256, 128), torch.randn(256, 128), torch.randn(256, 10)


def _filter_arguments() -> tuple[torch.Tensor, ...]:
    return torch.randn(512, 512), torch.rand(16, 512), torch.randn(512, 10)


SYSTEM = System(
    name="ntk",
    title="Neural Tangent Kernel: Convergence and Generalization in Neural Networks",
    source="arXiv 1806.07572",
    claim="A network of infinite width trains as kernel regression with one fixed kernel, known in closed form.",
    operations=(
        HotOperation("ntk-gram", relu_ntk_gram, _gram_arguments),
        HotOperation("empirical-ntk-dense", empirical_ntk_dense, _dense_arguments),
        HotOperation("spectral-filter", spectral_filter_apply, _filter_arguments),
    ),
    example=example,
)

__all__ = [
    "NTKMLP",
    "SYSTEM",
    "Dense",
    "Elementwise",
    "Erf",
    "InfiniteNetwork",
    "Kernel",
    "Linearized",
    "NTKClassifier",
    "NTKKernelPCA",
    "NTKLinear",
    "NTKRegressor",
    "Relu",
    "Spectrum",
    "circle",
    "dual_activation",
    "empirical_ntk",
    "example",
    "kernels_on_circle",
    "learnt",
    "linearize",
    "mlp",
    "nngp",
    "ntk",
    "ntk_matvec",
    "serial",
]
