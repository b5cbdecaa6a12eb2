"""Which generative model would have drawn this? One image against a hub of small specifications (arXiv 2412.12232).

    from kernelwright.zoo.kernel_methods.gmi_rkme import ModelHubIndex, ModelSpecification

    hub = ModelHubIndex(image_encoder=clip_image, text_encoder=clip_text, interrogator=caption)
    hub.add("model-a", ModelSpecification.generated(images, prompts, clip_image, clip_text))
    hub.identify([users_image])      # nearest models first

A specification keeps features of generated images with those of their prompts; a user's image is compared, in an RKHS,
with the kernel mean of each model's images, weighted towards the user's prompt. The paper's constants were not at hand:
the form of the prompt weights is a reconstruction. Several images extend equation 2 by their mean embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..._system import HotOperation, System, Track
from ._hub import Match, ModelHubIndex, ModelSpecification, top_k, weighted_scores
from ._reduced import ReducedKernelMeanEmbedding, median_gamma, optimal_weights, point_gradient, rbf

if TYPE_CHECKING:
    from ..._system import Result


def hub_scores(
    points: torch.Tensor, prompts: torch.Tensor, log_weights: torch.Tensor, grams: torch.Tensor, images: torch.Tensor,
    prompt: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """:func:`weighted_scores` at gamma 1, temperature 0.05: the ranking of a whole hub for one image."""
    return weighted_scores(points, prompts, log_weights, grams, images, prompt, 1.0, 0.05)


def mean_similarity(z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Mean over ``x [n, d]`` of exp(-|z - x|^2) at ``z [m, d]``: ``[m]``; what the weights of a reduced set need."""
    return rbf(z, x, 1.0).mean(1)


def _hub() -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(256, 64, 128, generator=draw), dim=-1)
    prompts = torch.nn.functional.normalize(torch.randn(256, 64, 128, generator=draw), dim=-1)
    return points, prompts, torch.zeros(256, 64), rbf(points, points, 1.0), points[0, :1], prompts[0, 0]


def _points() -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(100, 64, generator=draw), torch.randn(8192, 64, generator=draw)


def _run_example(track: Track) -> Result:
    from ._example import run

    return run(track)


SYSTEM = System(
    name="gmi-rkme",
    title="You Only Submit One Image to Find the Most Suitable Generative Model",
    source="arXiv 2412.12232",
    claim="Weighting a model's kernel mean embedding towards the prompt read off one image tells models apart that "
    "draw the same images for other prompts, where the unweighted distance is at chance.",
    operations=(
        HotOperation("hub_scores", hub_scores, _hub),
        HotOperation("mean_similarity", mean_similarity, _points),
    ),
    example=_run_example,
)

__all__ = [
    "SYSTEM",
    "Match",
    "ModelHubIndex",
    "ModelSpecification",
    "ReducedKernelMeanEmbedding",
    "hub_scores",
    "mean_similarity",
    "median_gamma",
    "optimal_weights",
    "point_gradient",
    "rbf",
    "top_k",
    "weighted_scores",
]
