"""Kernel ridge regression taught by itself, in closed form, and the same for networks (arXiv 2102.13088).

from kernelwright.zoo.kernel_methods.self_distillation_krr import SelfDistilledKernelRidge

model = SelfDistilledKernelRidge(gamma=2.0, alpha=0.01, mix="optimal", n_steps=5).fit(x, y)
model.mix_, model.effective_dof_, model.predict(x_test)
"""

from __future__ import annotations

import torch

from ..._system import HotOperation, Result, System, Track
from ._deep import DistillationLoss, SelfDistiller, soft_mse_distill_loss
from ._filter import distillation_filter, distillation_path, dual_filter, optimal_mix, spectral_path
from ._ridge import SelfDistilledKernelRidge, greedy_mixes


def _path_arguments() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    projected, rotated = torch.randn(500, 1000, generator=generator), torch.randn(1000, generator=generator)
    values = torch.logspace(-4, 2, 1000)
    return projected, values, rotated, torch.logspace(-3, 1, 8), torch.linspace(0, 1, 8)


def _loss_arguments() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 1024, 100, generator=generator)
    truth = torch.nn.functional.one_hot(torch.arange(1024) % 100, 100).float()
    return student.requires_grad_(), teacher, truth


def _example(track: Track) -> Result:
    from ._example import run

    return run(track)


SYSTEM = System(
    name="self-distillation-krr",
    title="Even your Teacher Needs Guidance: Ground-Truth Targets Dampen Regularization Imposed by Self-Distillation",
    source="arXiv 2102.13088",
    claim="Refitting a kernel ridge regression to its own predictions only shrinks it; with a share of the true "
    "targets the rounds converge to one with less shrinkage, and the best share has a closed form.",
    operations=(
        HotOperation("distillation_path", distillation_path, _path_arguments),
        HotOperation("soft_mse_distill_loss", soft_mse_distill_loss, _loss_arguments),
    ),
    example=_example,
)

__all__ = [
    "SYSTEM",
    "DistillationLoss",
    "SelfDistilledKernelRidge",
    "SelfDistiller",
    "distillation_filter",
    "distillation_path",
    "dual_filter",
    "greedy_mixes",
    "optimal_mix",
    "soft_mse_distill_loss",
    "spectral_path",
]
