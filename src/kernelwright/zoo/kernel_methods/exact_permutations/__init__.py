"""Ensembles of two-layer networks that learn a permutation of bits exactly from k examples (arXiv 2502.16763).

from kernelwright.zoo.kernel_methods.exact_permutations import PermutationEnsemble

model = PermutationEnsemble(n_members=20_000, solver="gp-limit").fit([2, 0, 1, 3])
model.predict(torch.tensor([[1, 0, 1, 1]]))
"""

from __future__ import annotations

import torch

from ..._system import HotOperation, Result, System, Track
from ._ensemble import PermutationEnsemble
from ._moments import (
    limit_moments,
    permutation_moments,
    required_ensemble_size,
    two_layer_nngp,
    two_layer_ntk,
)
from ._networks import ensemble_step, exact_answers
from ._sizes import all_inputs, measured_size, pairs_of_ones


def _weights() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 16, 2048, 30, generator=generator)
    return first, second, torch.eye(30)[torch.randperm(30, generator=generator)]


def _averages() -> tuple[torch.Tensor, ...]:
    x = all_inputs(12).float()
    return x - 0.5 + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), x


def _rows() -> tuple[torch.Tensor, ...]:
    x = all_inputs(10).float()
    return x, x


def _example(track: Track) -> Result:
    from ._example import run

    return run(track)


SYSTEM = System(
    name="exact-permutations",
    title="Exact Learning of Permutations for Nonzero Binary Inputs with Logarithmic Training Size and Quadratic "
    "Ensemble Complexity",
    source="arXiv 2502.16763",
    claim="Networks trained on the k unit vectors alone, averaged and cut at zero, permute all 2^k - 1 binary inputs "
    "exactly; about k log k of them do for one input, about k² for all.",
    operations=(
        HotOperation("ensemble_step", ensemble_step, _weights),
        HotOperation("exact_answers", exact_answers, _averages),
        HotOperation("two_layer_ntk", two_layer_ntk, _rows),
    ),
    example=_example,
)

__all__ = [
    "SYSTEM",
    "PermutationEnsemble",
    "all_inputs",
    "ensemble_step",
    "exact_answers",
    "limit_moments",
    "measured_size",
    "pairs_of_ones",
    "permutation_moments",
    "required_ensemble_size",
    "two_layer_nngp",
    "two_layer_ntk",
]
