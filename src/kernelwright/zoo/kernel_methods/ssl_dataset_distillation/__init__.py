"""Self-supervised dataset distillation for transfer learning (arXiv 2310.06511): a few images stand for a data set.

Images and target vectors are learned so that a linear head fitted to them, on the features of partly trained
networks, does what a self-supervised teacher does on real images. The fit is kernel ridge regression in closed form,
so the outer gradient is exact; a network pre-trained on the pairs by plain regression then transfers. Inner training
with random augmentation has no such gradient: that through one draw is not that of the expected problem.

>>> solver = KernelRidgeSolver()
>>> pairs = DistilledSet(torch.randn(4, 1, 8, 8), torch.randn(4, 3))
>>> network = pretrain_on(pairs, ConvExtractor((8,), outputs=3), epochs=2)
>>> solver.predict(network.features(torch.zeros(2, 1, 8, 8)), network.features(pairs.x), pairs.y).shape
torch.Size([2, 3])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..._system import HotOperation, Measured, Result, System, Track
from ...common import axes
from ._baselines import KernelInducingPoints, herding, real_pairs, relu_ntk
from ._digits import Batches, Problem, digits_problem, few_shot, fresh_student, held_out_error, student, transfer
from ._distill import KRRST, DistilledSet, ModelPool
from ._networks import BarlowTwins, ConvExtractor, barlow_loss
from ._solver import KernelRidgeSolver, features_of, outer_loss
from ._transfer import finetune, linear_probe, pretrain_on

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ridge_loss(
    features_s: torch.Tensor, features_t: torch.Tensor, y_s: torch.Tensor, y_t: torch.Tensor
) -> torch.Tensor:
    """The outer loss from features [m, p], [b, p] and targets [m, d], [b, d]: two products, a factor, two solves."""
    gram = features_s @ features_s.T + 1
    ridge = 1e-6 * gram.diagonal().sum()
    factor = torch.linalg.cholesky(gram + ridge * torch.eye(gram.shape[0], dtype=gram.dtype))
    predicted = (features_t @ features_s.T + 1) @ torch.cholesky_solve(y_s, factor)
    return (predicted - y_t).square().mean()


def conv_block(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """A block in evaluation mode, [n, i, h, w] to [n, o, h/2, w/2]: convolution, batch norm, ReLU, average pooling."""
    y = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    y = torch.nn.functional.batch_norm(y, mean, variance)
    return torch.nn.functional.avg_pool2d(torch.relu(y), 2)


def _ridge_arguments() -> tuple[torch.Tensor, ...]:
    return torch.randn(100, 512), torch.randn(256, 512), torch.randn(100, 64), torch.randn(256, 64)


def _block_arguments() -> tuple[torch.Tensor, ...]:
    weight = torch.randn(32, 16, 3, 3) / 12
    return torch.randn(100, 16, 8, 8), weight, torch.randn(32), torch.randn(32), torch.rand(32) + 0.5


def picture(losses: list[float], before: DistilledSet, after: DistilledSet) -> Figure:
    """The outer loss over the steps, and ten images before and after."""
    figure, (left, right) = axes(1, 2)
    window = max(1, len(losses) // 20)
    means = torch.tensor(losses).unfold(0, window, 1).mean(1)
    left.plot(losses, linewidth=0.5, alpha=0.3)
    left.plot(range(window - 1, len(losses)), means, color="#0b7a75")
    left.set(xlabel="outer step", ylabel="distance from the teacher", ylim=(0, 2 * float(means.max())))
    shown = [pairs.x[:10, 0].permute(1, 0, 2).reshape(8, -1) for pairs in (before, after)]
    right.imshow(torch.cat([part.clamp(-1, 3) for part in shown]), cmap="gray")
    right.set(yticks=(3.5, 11.5), yticklabels=("real", "distilled"), xticks=())
    right.grid(visible=False)
    return figure


def _example(track: Track) -> Result:
    problem = digits_problem(20, track=track)
    distiller = KRRST(
        problem.teacher, student, 20, outer_lr=1e-2, pool_size=3, max_inner_steps=100, inner_lr=0.02
    )  # fmt: skip
    before = real_pairs(problem.source, problem.teacher, torch.arange(20))
    after = distiller.fit(Batches(problem.source, 256, 0), 300, initial=before.x, track=track)
    drop = 1 - held_out_error(after, problem) / held_out_error(before, problem)
    measured = (
        Measured("held-out distance from the teacher: drop against 20 real pairs", drop, "> 0", drop > 0),
        Measured("few-shot accuracy, distilled", transfer(after, problem, 1)[0]),
        Measured("few-shot accuracy, real images", transfer(before, problem, 1)[0]),
    )
    return Result(measured, picture(distiller.losses_, before, after))


SYSTEM = System(
    name="ssl-dataset-distillation",
    title="Self-Supervised Dataset Distillation for Transfer Learning",
    source="arXiv 2310.06511",
    claim="A few learned images and target vectors stand for an unlabelled data set: closed-form ridge regression "
    "makes the outer gradient exact, and networks pre-trained on them transfer.",
    operations=(
        HotOperation("ridge-loss", ridge_loss, _ridge_arguments),
        HotOperation("conv-block", conv_block, _block_arguments),
    ),
    example=_example,
)

__all__ = [
    "KRRST",
    "SYSTEM",
    "BarlowTwins",
    "Batches",
    "ConvExtractor",
    "DistilledSet",
    "KernelInducingPoints",
    "KernelRidgeSolver",
    "ModelPool",
    "Problem",
    "barlow_loss",
    "conv_block",
    "digits_problem",
    "features_of",
    "few_shot",
    "finetune",
    "fresh_student",
    "held_out_error",
    "herding",
    "linear_probe",
    "outer_loss",
    "picture",
    "pretrain_on",
    "real_pairs",
    "relu_ntk",
    "ridge_loss",
    "student",
    "transfer",
]
