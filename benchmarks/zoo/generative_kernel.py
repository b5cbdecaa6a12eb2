"""Supports that are generated against supports that are stored, over tasks on digits: accuracy, forgetting, bytes.

Run: python benchmarks/zoo/generative_kernel.py [--quick]   (one seed, three orders of pixels, no contrast ablation)
"""

from __future__ import annotations

import argparse
from statistics import fmean

import torch
from record import record

from kernelwright.zoo import Measured
from kernelwright.zoo.continual.generative_kernel import (
    SYSTEM,
    Course,
    GenerativeKernelClassifier,
    KernelContinualClassifier,
    LearningTask,
    Training,
    average_accuracy,
    digits_vae,
    feature_net,
    finetuned,
    forgetting,
    learn,
    permuted_digits,
    picture,
    split_digits,
)

SEEDS = 3
TRAINING = Training(epochs=3, generator_steps=400)


def generated(
    tasks: list[LearningTask], seed: int, per_class: int = 20, replay: bool = True, contrast: float = 0.5
) -> Course:
    learner = GenerativeKernelClassifier(
        feature_net(seed), digits_vae(seed, contrast=contrast), "linear", per_class, replay=replay, training=TRAINING,
        seed=seed,
    )  # fmt: skip
    return learn(learner, tasks)


def stored(tasks: list[LearningTask], seed: int, count: int) -> Course:
    return learn(KernelContinualClassifier(feature_net(seed), count, "linear", training=TRAINING, seed=seed), tasks)


def split(seeds: int, ablate: bool) -> dict[str, list[Course]]:
    """Five tasks of two digits, for every seed."""
    found: dict[str, list[Course]] = {}
    for seed in range(seeds):
        tasks = split_digits(seed)
        runs = {
            "generated": generated(tasks, seed),
            "stored": stored(tasks, seed, 20),
            "generated, no replay": generated(tasks, seed, replay=False),
            "fine-tuned": Course(finetuned(tasks, TRAINING.epochs, seed), (0,) * len(tasks)),
        }
        if ablate:
            runs["generated, 3 a class"] = generated(tasks, seed, 3)
            runs["generated, 3 a class, no contrast"] = generated(tasks, seed, 3, contrast=0.0)
        for name, course in runs.items():
            print(f"split, seed {seed}, {name}: {average_accuracy(course.accuracies):.4f}", flush=True)
            found.setdefault(name, []).append(course)
    return found


def permuted(orders: int) -> dict[str, list[Course]]:
    """Orders of the pixels, ten digits each."""
    tasks = permuted_digits(orders)
    runs = {
        "generated": generated(tasks, 0),
        "stored": stored(tasks, 0, 200),
        "generated, no replay": generated(tasks, 0, replay=False),
    }
    for name, course in runs.items():
        print(f"permuted, {name}: {average_accuracy(course.accuracies):.4f}", flush=True)
    return {name: [course] for name, course in runs.items()}


def average(courses: list[Course]) -> float:
    return fmean(average_accuracy(course.accuracies) for course in courses)


def early(courses: list[Course]) -> float:
    """Mean accuracy, at the end, of all tasks but the last."""
    return fmean(float(course.accuracies[-1, :-1].mean()) for course in courses)


def compared(name: str, found: dict[str, list[Course]]) -> list[Measured]:
    gap = average(found["generated"]) - average(found["stored"])
    lost = early(found["generated"]) - early(found["generated, no replay"])
    return [
        Measured(f"{name}: average accuracy, generated", average(found["generated"])),
        Measured(f"{name}: average accuracy, stored", average(found["stored"])),
        Measured(f"{name}: generated minus stored", gap, ">= -0.01", gap >= -0.01),
        Measured(f"{name}: early tasks lose without replay", lost, ">= 0.1", lost >= 0.1),
    ]


def main() -> None:
    torch.set_num_threads(1)  # the networks are small
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    seeds = 1 if quick else SEEDS
    splits, orders = split(seeds, ablate=not quick), permuted(3 if quick else 5)
    memory = splits["generated"][0].memory
    kept = splits["stored"][0].memory
    growth = (memory[-1] - memory[0]) / (len(memory) - 1)
    forgotten = fmean(forgetting(course.accuracies) for course in splits["fine-tuned"])
    measured = [
        *compared("split", splits),
        *compared("permuted", orders),
        Measured("split: bytes more for each task, generated / stored", growth / kept[0], "<= 0.15",
                 growth / kept[0] <= 0.15),
        Measured("split: KiB kept after 5 tasks, generated", memory[-1] / 1024),
        Measured("split: KiB kept after 5 tasks, stored", kept[-1] / 1024),
        Measured("split: forgetting of fine-tuning", forgotten, ">= 0.2", forgotten >= 0.2),
    ]  # fmt: skip
    if not quick:
        gain = average(splits["generated, 3 a class"]) - average(splits["generated, 3 a class, no contrast"])
        measured.append(Measured("split: contrast gains at 3 a class", gain, ">= 0.005", gain >= 0.005))
    shown = {name: splits[name][0] for name in ("generated", "stored", "generated, no replay", "fine-tuned")}
    detail = {
        kind: {
            name: [
                {"accuracies": c.accuracies, "bytes": c.memory, "forgetting": forgetting(c.accuracies)} for c in runs
            ]
            for name, runs in found.items()
        }
        for kind, found in (("split", splits), ("permuted", orders))
    }
    record(SYSTEM.name, measured, picture=picture(shown), seeds=seeds, **detail)


if __name__ == "__main__":
    main()
