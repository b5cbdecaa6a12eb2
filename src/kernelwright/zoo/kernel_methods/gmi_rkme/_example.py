"""What gmi-rkme shows: swapped prompts, 16 models from one image, and how few points a specification needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..._system import Measured, Result, Track
from ...common import COLOURS, axes, legend
from ._hub import ModelHubIndex, top_k
from ._reduced import ReducedKernelMeanEmbedding, median_gamma, optimal_weights, rbf
from ._worlds import World, swapped, transformed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # gamma over that of the median heuristic
SIZES = (5, 10, 20, 40)


@dataclass(frozen=True)
class Found:
    """Accuracies on swapped pairs, accuracies on the hub over WIDTHS, squared distances over SIZES."""

    pairs: dict[str, float]
    hub: dict[str, list[float]]
    reduced: dict[str, list[float]]
    read_right: float


def distances(world: World, gamma: float | str, way: str) -> Tensor:
    """Of every task to every model ``[tasks, H]``; ``way``: "unweighted", "true prompt" or "read prompt"."""
    index = ModelHubIndex(gamma)
    for number, specification in enumerate(world.specifications):
        index.add(str(number), specification)
    prompts = {"unweighted": None, "true prompt": world.prompts, "read prompt": world.read}[way]
    rows = [index.distances(x[None], None if prompts is None else prompts[i]) for i, x in enumerate(world.features)]
    return torch.stack(rows)


def pair_accuracy(world: World, way: str) -> float:
    """How often the right one of the two models of a pair is nearer; those as near as 1e-9 count a half."""
    found = distances(world, "median", way)
    own = torch.tensor(world.truth)
    rows = torch.arange(len(own))
    gap = found[rows, own ^ 1] - found[rows, own]
    return float(torch.where(gap.abs() < 1e-9, 0.5, (gap > 0).double()).mean())


def reductions(points: np.ndarray, seeds: int) -> dict[str, list[float]]:
    """Squared distances to the embedding of all points: the reduced set, and others' points with their best weights."""
    found: dict[str, list[float]] = {"reduced set": [], "k-means, weighted": [], "random, weighted": []}
    gamma, x = median_gamma(points), torch.from_numpy(points)
    full = rbf(x, x, gamma)
    mean = full.mean(1)
    for size in SIZES:
        fits = [
            [ReducedKernelMeanEmbedding(size, n_iter=n, random_state=s).fit(points).mmd2_ for s in range(seeds)]
            for n in (3, 0)
        ]
        random = []
        for seed in range(seeds):
            at = np.random.default_rng(seed).choice(len(points), size, replace=False)
            beta = optimal_weights(full[at][:, at], mean[at], True, False)
            random.append(float(full.mean() - 2 * beta @ mean[at] + beta @ full[at][:, at] @ beta))
        for values, name in zip((*fits, random), found, strict=True):
            found[name].append(float(np.mean(values)))
    return found


def measure(track: Track, tasks: int, seeds: int) -> Found:
    """Everything, with ``tasks`` images for each model and prompt."""
    pair_world = swapped(tasks=tasks)
    pairs = {way: pair_accuracy(pair_world, way) for way in ("unweighted", "true prompt", "read prompt")}
    world = transformed(tasks=tasks)
    middle = median_gamma(torch.cat([s.images for s in world.specifications]).numpy())
    hub: dict[str, list[float]] = {}
    for width in track(WIDTHS, "kernel widths"):
        for way in ("unweighted", "true prompt", "read prompt"):
            found = distances(world, width * middle, way)
            for k in (1, 4):
                hub.setdefault(f"{way}, top-{k}", []).append(top_k(found, world.truth, k))
    return Found(pairs, hub, reductions(world.specifications[0].images.numpy(), seeds), world.read_right)


def judge(found: Found) -> tuple[Measured, ...]:
    """The figures beside what the card lets us expect."""
    wide, middle = WIDTHS.index(0.1), WIDTHS.index(1.0)
    gain = found.hub["true prompt, top-1"][wide] - found.hub["unweighted, top-1"][wide]
    top = found.hub["read prompt, top-4"][middle]
    at = SIZES.index(20)
    ratio = found.reduced["random, weighted"][at] / found.reduced["reduced set"][at]
    pairs = found.pairs
    chance, true, read = pairs["unweighted"], pairs["true prompt"], pairs["read prompt"]
    return (
        Measured("swapped prompts: unweighted", chance, "chance: 0.5", abs(chance - 0.5) < 0.05),
        Measured("swapped prompts: weighted, true prompt", true, ">= 0.95", true >= 0.95),
        Measured("swapped prompts: weighted, prompt read off the image", read, ">= 0.85", read >= 0.85),
        Measured("16 models: top-4, prompt read off the image", top, ">= 0.80", top >= 0.80),
        Measured("16 models: top-1 gained by the true prompt, wide kernel", gain, ">= 0.05", gain >= 0.05),
        Measured("16 models: prompts read right", found.read_right),
        Measured("20 points: distance of a random subset / reduced set", ratio, ">= 2", ratio >= 2),
    )


def picture(found: Found) -> Figure:
    """Accuracy by kernel width, swapped pairs, and distance by number of points."""
    figure, (left, middle, right) = axes(1, 3)
    for way, colour in (("true prompt", COLOURS[0]), ("read prompt", COLOURS[2]), ("unweighted", COLOURS[1])):
        left.semilogx(WIDTHS, found.hub[f"{way}, top-4"], "o-", color=colour, label=way)
        left.semilogx(WIDTHS, found.hub[f"{way}, top-1"], "s:", color=colour)
    left.set(
        xlabel="γ / median heuristic",
        ylabel="accuracy",
        title="16 models, one image: top-4, top-1 dotted",
        ylim=(0, 1.02),
    )
    middle.bar(list(found.pairs), list(found.pairs.values()), color=(COLOURS[1], COLOURS[0], COLOURS[2]), width=0.6)
    middle.axhline(0.5, linestyle=":", color=COLOURS[4])
    middle.set(ylabel="accuracy", title="Pairs with swapped prompts", ylim=(0, 1.02))
    for (name, values), style in zip(found.reduced.items(), ("o-", "s--", "^:"), strict=True):
        right.loglog(SIZES, values, style, label=name)
    right.set(xlabel="points", ylabel="squared distance to 200 images", title="Specification size")
    right.set_xticks(SIZES, [str(size) for size in SIZES])
    right.minorticks_off()
    legend(left, loc="center left", bbox_to_anchor=(0, 0.36))
    legend(right)
    return figure


def run(track: Track) -> Result:
    """The example at a small size."""
    found = measure(track, tasks=2, seeds=2)
    return Result(judge(found), picture(found))


__all__ = ["SIZES", "WIDTHS", "Found", "distances", "judge", "measure", "pair_accuracy", "picture", "reductions", "run"]
