"""gmi-rkme at a fuller size, against the nearest mean feature, and a thousand models asked at once.

``python benchmarks/zoo/gmi_rkme.py``
"""

from __future__ import annotations

import time

import torch
from record import record

from kernelwright.zoo import Measured, plainly
from kernelwright.zoo.kernel_methods.gmi_rkme import ModelHubIndex, ModelSpecification, median_gamma, top_k
from kernelwright.zoo.kernel_methods.gmi_rkme._example import SIZES, WIDTHS, distances, judge, measure, picture
from kernelwright.zoo.kernel_methods.gmi_rkme._worlds import World, transformed


def nearest_mean(world: World) -> dict[str, float]:
    """The retrieval baseline: models by the distance of their mean feature, and of that among the prompt's items."""
    means = torch.stack([s.images.mean(0) for s in world.specifications])
    by_prompt = torch.stack([(s.prompts.t() @ s.images) / s.prompts.sum(0)[:, None] for s in world.specifications])
    mine = by_prompt[:, world.read.argmax(1)].transpose(0, 1)  # [tasks, H, D]
    found = {
        "mean feature": torch.cdist(world.features, means),
        "mean feature of the read prompt": (world.features[:, None] - mine).norm(dim=-1),
    }
    return {f"{name}, top-{k}": top_k(d, world.truth, k) for name, d in found.items() for k in (1, 4)}


def reduced(world: World, per_prompt: int) -> dict[str, float]:
    """Accuracy where every specification keeps a few points for each prompt."""
    gamma = median_gamma(torch.cat([s.images for s in world.specifications]).numpy())
    few = [s.reduced(per_prompt, gamma) for s in world.specifications]
    small = World(few, world.features, world.prompts, world.read, world.truth, world.read_right)
    found = distances(small, gamma, "read prompt")
    return {"points": len(few[0].images), "top-1": top_k(found, world.truth, 1), "top-4": top_k(found, world.truth, 4)}


def query_milliseconds(models: int, items: int, width: int) -> float:
    """The quickest of ten queries to a hub of that size, float32."""
    draw = torch.Generator().manual_seed(0)
    index = ModelHubIndex(gamma=1.0)
    for number in range(models):
        points, prompts = torch.nn.functional.normalize(torch.randn(2, items, width, generator=draw), dim=-1)
        index.add(str(number), ModelSpecification(points, prompts, torch.ones(items)))
    image, prompt = torch.nn.functional.normalize(torch.randn(2, width, generator=draw), dim=-1)
    index.identify(image[None], prompt)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        index.identify(image[None], prompt)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def main() -> None:
    found = measure(plainly, tasks=5, seeds=5)
    world = transformed(tasks=5)
    baseline = nearest_mean(world)
    few = reduced(world, 3)
    ours = found.hub["read prompt, top-1"][WIDTHS.index(1.0)]
    gain = ours - baseline["mean feature, top-1"]
    measured = [
        *judge(found),
        Measured("16 models: top-1, prompt read off the image", ours),
        Measured("16 models: top-1 gained over the nearest mean feature", gain, "> 0", gain > 0),
        Measured("16 models: top-4 with 3 points for each prompt", few["top-4"], ">= 0.80", few["top-4"] >= 0.80),
        Measured("1000 models of 50 items, 256 features: ms a query", query_milliseconds(1000, 50, 256)),
    ]
    record(
        "gmi-rkme", measured, picture=picture(found), widths=WIDTHS, sizes=SIZES, pairs=found.pairs, hub=found.hub,
        reduced=found.reduced, nearest_mean=baseline, few_points=few,
    )  # fmt: skip


if __name__ == "__main__":
    main()
