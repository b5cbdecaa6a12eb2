"""Generative kernel continual learning (arXiv 2112.13410): the support that a kernel classifier needs is generated.

Every task has a kernel ridge classifier in closed form over one shared feature net. Its support is not stored but
sampled from a class-conditional variational autoencoder, the one component that is replayed when a new task comes. So
what is kept does not grow with tasks, but for a Gaussian prior of each class and three numbers of each head.

The classifier follows the authors' code for kernel continual learning; the generator is a reconstruction from the
abstract. It is trained before the net and the head of its task, not together with them. Features are rows of norm 1
(a batch's own range, which the published code uses on small images, would make predictions depend on the batch).

>>> learner = GenerativeKernelClassifier(feature_net(), digits_vae(), training=Training(epochs=1, generator_steps=2))
>>> learner.partial_fit_task(torch.rand(8, 64), torch.arange(8) % 2, task_id=0).predict(torch.rand(3, 64), 0).shape
torch.Size([3])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..._system import HotOperation, Measured, Result, System, Track
from ...common import axes, legend
from ._classifier import GenerativeKernelClassifier, KernelContinualClassifier, Training
from ._head import KernelRidgeHead, VariationalFourier, gaussian_kl
from ._measure import (
    Course,
    LearningTask,
    average_accuracy,
    digits_vae,
    feature_net,
    finetuned,
    forgetting,
    learn,
    permuted_digits,
    split_digits,
)
from ._vae import ClassConditionalVAE, supervised_contrast

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fit_predict(support: torch.Tensor, targets: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Logits [t, b, c] of t tasks at once: supports [t, n, d], targets [t, n, c], queries [t, b, d]; ridge 0.11."""
    gram = support @ support.mT + 0.11 * torch.eye(support.shape[1], dtype=support.dtype)
    return query @ support.mT @ torch.cholesky_solve(targets, torch.linalg.cholesky(gram))


def l1_gram(query: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    """exp(-|q - s|₁ / 4) [b, n] of [b, d] and [n, d], as the published code has it: by way of [b, n, d]."""
    return torch.exp(-0.25 * (query[:, None, :] - support[None, :, :]).abs().sum(-1))


def contrast(latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The supervised contrastive loss of [b, d] and labels [b], by way of [b, b]."""
    return supervised_contrast(latents, labels)


def _fit_arguments() -> tuple[torch.Tensor, ...]:
    return torch.randn(20, 40, 64), torch.randn(20, 40, 5), torch.randn(20, 64, 64)


def _l1_arguments() -> tuple[torch.Tensor, ...]:
    return torch.randn(128, 64), torch.randn(100, 64)


def _contrast_arguments() -> tuple[torch.Tensor, ...]:
    return torch.randn(128, 32), torch.randint(0, 5, (128,))


def picture(courses: dict[str, Course]) -> Figure:
    """Mean accuracy over the tasks so far, and bytes kept, after each task; equal bytes are drawn once."""
    figure, (left, right) = axes(1, 2)
    drawn: set[tuple[int, ...]] = set()
    for name, course in courses.items():
        seen = range(1, len(course.memory) + 1)
        left.plot(seen, course.accuracies.nanmean(1) * 100, marker="o", markersize=4, label=name)
        if any(course.memory) and course.memory not in drawn:
            drawn.add(course.memory)
            right.plot(seen, [m / 1024 for m in course.memory], marker="o", markersize=4, label=name)
    ticks = range(1, max(len(course.memory) for course in courses.values()) + 1)
    left.set(xlabel="tasks learned", ylabel="accuracy over them, %", xticks=ticks)
    right.set(xlabel="tasks learned", ylabel="kept, KiB", ylim=(0, None), xticks=ticks)
    legend(left)
    return figure


def _example(track: Track) -> Result:
    tasks = split_digits()
    training = Training(epochs=3, generator_steps=250)
    courses = {
        "generated": learn(GenerativeKernelClassifier(feature_net(), digits_vae(), training=training), tasks, track),
        "stored": learn(KernelContinualClassifier(feature_net(), 20, training=training), tasks, track),
        "generated, no replay": learn(
            GenerativeKernelClassifier(feature_net(), digits_vae(), replay=False, training=training), tasks, track
        ),
    }
    ours, stored, forgotten = (average_accuracy(course.accuracies) for course in courses.values())
    memory = courses["generated"].memory
    growth = memory[-1] / memory[0] - 1
    measured = (
        Measured("average accuracy, generated", ours),
        Measured("generated minus stored", ours - stored, ">= -0.01", ours - stored >= -0.01),
        Measured("loss without replay", ours - forgotten, ">= 0.1", ours - forgotten >= 0.1),
        Measured("growth of memory from task 1 to 5", growth, "<= 0.05", growth <= 0.05),
    )
    return Result(measured, picture(courses))


SYSTEM = System(
    name="generative-kernel-cl",
    title="Generative Kernel Continual Learning",
    source="arXiv 2112.13410",
    claim="Kernel classifiers of many tasks need no stored examples: one replayed generator draws the support of each.",
    operations=(
        HotOperation("fit-predict", fit_predict, _fit_arguments),
        HotOperation("l1-gram", l1_gram, _l1_arguments),
        HotOperation("supervised-contrast", contrast, _contrast_arguments),
    ),
    example=_example,
)

__all__ = [
    "SYSTEM",
    "ClassConditionalVAE",
    "Course",
    "GenerativeKernelClassifier",
    "KernelContinualClassifier",
    "KernelRidgeHead",
    "LearningTask",
    "Training",
    "VariationalFourier",
    "average_accuracy",
    "contrast",
    "digits_vae",
    "feature_net",
    "finetuned",
    "fit_predict",
    "forgetting",
    "gaussian_kl",
    "l1_gram",
    "learn",
    "permuted_digits",
    "picture",
    "split_digits",
    "supervised_contrast",
]
