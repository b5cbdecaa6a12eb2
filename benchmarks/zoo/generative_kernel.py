"""Supports that are generated against supports that are stored, over tasks on digits: accuracy, forgetting, bytes.

Run: python benchmarks/zoo/generative_kernel.py
"""

from __future__ import annotations

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


def split() -> dict[str, list[Course]]:
    """Five tasks of two digits, for every seed."""
    found: dict[str, list[Course]] = {}
    for seed in range(SEEDS):
        tasks = split_digits(seed)
        runs = {
            "generated": generated(tasks, seed),
            "stored": stored(tasks, seed, 20),
            "generated, no replay": generated(tasks, seed, replay=False),
            "generated, 3 a class": generated(tasks, seed, 3),
            "generated, 3 a class, no contrast": generated(tasks, seed, 3, contrast=0.0),
            "fine-tuned": Course(finetuned(tasks, TRAINING.epochs, seed), (0,) * len(tasks)),
        }
        for name, course in runs.items():
            print(f"split, seed {seed}, {name}: {average_accuracy(course.accuracies):.4f}", flush=True)
            found.setdefault(name, []).append(course)
    return found


def permuted() -> dict[str, list[Course]]:
    """Five orders of the pixels, ten digits each."""
    tasks = permuted_digits(5)
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
    splits, orders = split(), permuted()
    memory = splits["generated"][0].memory
    kept = splits["stored"][0].memory
    growth = (memory[-1] - memory[0]) / (len(memory) - 1)
    contrast = average(splits["generated, 3 a class"]) - average(splits["generated, 3 a class, no contrast"])
    forgotten = fmean(forgetting(course.accuracies) for course in splits["fine-tuned"])
    measured = [
        *compared("split", splits),
        *compared("permuted", orders),
        Measured("split: bytes more for each task, generated / stored", growth / kept[0], "<= 0.15",
                 growth / kept[0] <= 0.15),
        Measured("split: KiB kept after 5 tasks, generated", memory[-1] / 1024),
        Measured("split: KiB kept after 5 tasks, stored", kept[-1] / 1024),
        Measured("split: contrast gains at 3 a class", contrast, ">= 0.005", contrast >= 0.005),
        Measured("split: forgetting of fine-tuning", forgotten, ">= 0.2", forgotten >= 0.2),
    ]  # fmt: skip
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
    record(SYSTEM.name, measured, picture=picture(shown), seeds=SEEDS, **detail)


if __name__ == "__main__":
    main()
