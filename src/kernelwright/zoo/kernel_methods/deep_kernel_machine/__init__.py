"""Deep kernel machines: layers of Gram matrices that are learned instead of features (arXiv 2108.13097).

    from kernelwright.zoo.kernel_methods.deep_kernel_machine import DKMRegressor, SparseDKMClassifier

    DKMRegressor(depth=2, nu=1.0).fit(x, y).predict(x_new, return_std=True)     # every training row in every layer
    SparseDKMClassifier(n_inducing=200).fit(x, y).predict_proba(x_new)          # linear in the number of rows

``nu`` holds each layer's Gram matrix to the kernel of the layer below; ``nu=float("inf")`` is the infinitely wide
network without learned representations (NNGP). The modules of ``_layers`` compose like any of torch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..._system import HotOperation, System, Track
from ._full import DKMRegressor, Terms, dkm_terms, optimise
from ._kernels import GramBlocks, arccos_from_gram, kernel_blocks, linear_from_gram, rbf_from_gram
from ._layers import GramLayer, GramNorm, InputGram, KernelLayer, SparseDKM, SparseGPHead, dkm_regulariser, propagate
from ._sparse import SparseDKMClassifier, SparseDKMRegressor, expected_gaussian, mc_log_likelihood

if TYPE_CHECKING:
    from ..._system import Result


def arccos_block(g: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The values of :func:`arccos_from_gram` as plain operations, without its own gradient."""
    norms = (left[:, None] * right[None, :]).sqrt()
    cosine = (g / norms).clamp(-1, 1)
    angle = cosine.acos()
    return norms * (angle.sin() + (torch.pi - angle) * cosine) / torch.pi


def _gram() -> tuple[torch.Tensor, ...]:
    x, z = torch.randn(1536, 64, generator=torch.Generator().manual_seed(0)).split([1024, 512])
    return x @ z.t() / 64, x.square().mean(1), z.square().mean(1)


def _votes() -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (256,), generator=draw)
    mean, draws = torch.randn(256, 10, generator=draw), torch.randn(256, 256, 10, generator=draw)
    return mean, torch.rand(256, generator=draw), draws, labels


def _run_example(track: Track) -> Result:
    from ._example import run

    return run(track)


SYSTEM = System(
    name="deep-kernel-machine",
    title="A theory of representation learning gives a deep generalisation of kernel methods",
    source="arXiv 2108.13097",
    claim="Learned Gram matrices bring representation learning to kernel methods: they align with the targets and "
    "predict better than the same depth without learning, at a cost linear in the data with inducing points.",
    operations=(
        HotOperation("arccos_block", arccos_block, _gram),
        HotOperation("rbf_from_gram", rbf_from_gram, _gram),
        HotOperation("mc_log_likelihood", mc_log_likelihood, _votes),
    ),
    example=_run_example,
)

__all__ = [
    "SYSTEM",
    "DKMRegressor",
    "GramBlocks",
    "GramLayer",
    "GramNorm",
    "InputGram",
    "KernelLayer",
    "SparseDKM",
    "SparseDKMClassifier",
    "SparseDKMRegressor",
    "SparseGPHead",
    "Terms",
    "arccos_block",
    "arccos_from_gram",
    "dkm_regulariser",
    "dkm_terms",
    "expected_gaussian",
    "kernel_blocks",
    "linear_from_gram",
    "mc_log_likelihood",
    "optimise",
    "propagate",
    "rbf_from_gram",
]
