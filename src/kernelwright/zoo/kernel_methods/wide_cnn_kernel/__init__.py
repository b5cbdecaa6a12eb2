"""What wide convolutional networks learn: kernels of deep CNNs without overlap, their spectra and learning curves.

Cagnetta, Favero and Wyart 2023, "What Can Be Learnt With Wide Convolutional Neural Networks?"
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..._system import HotOperation, System
from ._example import STUDENT, TABLE, curves, decay_error, dense_student, example
from ._kernel import (
    effective_dimension,
    groups_of,
    hierarchical_ntk,
    hierarchical_ntk_matvec,
    learning_curve_exponent,
    patches,
)
from ._learning import HierarchicalNTKClassifier, HierarchicalNTKRegressor, TeacherStudent, sample_patches
from ._network import LocalConvNet1d


def hier_ntk_gram(x: Tensor, z: Tensor) -> Tensor:
    """The kernel of filters (2, 2) for unit patches x [n, 4, 2] and z [m, 4, 2], all pairs at once."""
    theta = cosine = torch.einsum("nps,mps->pnm", x, z).clamp(-1, 1)
    for _ in range(2):
        open_ = 1 - torch.acos(cosine) / math.pi
        cosine = (((1 - cosine * cosine).clamp_min(0)).sqrt() / math.pi + open_ * cosine).clamp(-1, 1)
        theta = (theta * open_ + cosine).unflatten(0, (-1, 2)).mean(1)
        cosine = cosine.unflatten(0, (-1, 2)).mean(1)
    return theta[0]


def _gram_arguments() -> tuple[Tensor, ...]:
    x, z = torch.randn(256, 4, 2), torch.randn(384, 4, 2)
    return x / x.norm(dim=2, keepdim=True), z / z.norm(dim=2, keepdim=True)


SYSTEM = System(
    name="wide-cnn-kernel",
    title="What Can Be Learnt With Wide Convolutional Neural Networks?",
    source="arXiv 2208.01003",
    claim="The kernels of deep CNNs adapt to how far a target reaches: local ones are learnt fast, global ones not.",
    operations=(HotOperation("hier-ntk-gram", hier_ntk_gram, _gram_arguments),),
    example=example,
)

__all__ = [
    "STUDENT",
    "SYSTEM",
    "TABLE",
    "HierarchicalNTKClassifier",
    "HierarchicalNTKRegressor",
    "LocalConvNet1d",
    "TeacherStudent",
    "curves",
    "decay_error",
    "dense_student",
    "effective_dimension",
    "example",
    "groups_of",
    "hier_ntk_gram",
    "hierarchical_ntk",
    "hierarchical_ntk_matvec",
    "learning_curve_exponent",
    "patches",
    "sample_patches",
]
