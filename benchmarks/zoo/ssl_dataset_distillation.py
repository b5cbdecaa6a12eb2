"""Twenty distilled pairs against twenty real images, chosen three ways, and against distillation from labels.

Source: digits 0 to 5 without labels; target: digits 6 to 9, three labelled images of each.
Run: python benchmarks/zoo/ssl_dataset_distillation.py
"""

from __future__ import annotations

from statistics import fmean

import torch
from record import record

from kernelwright.zoo import Measured
from kernelwright.zoo.kernel_methods.ssl_dataset_distillation import (
    KRRST,
    SYSTEM,
    Batches,
    DistilledSet,
    KernelInducingPoints,
    Problem,
    digits_problem,
    few_shot,
    fresh_student,
    held_out_error,
    herding,
    picture,
    real_pairs,
    student,
    transfer,
)

SIZE, STEPS, SEEDS = 20, 500, 4


def distilled(problem: Problem, first: torch.Tensor, learn: tuple[str, ...]) -> tuple[DistilledSet, list[float]]:
    distiller = KRRST(
        problem.teacher, student, SIZE, outer_lr=1e-2, pool_size=3, max_inner_steps=150, inner_lr=0.02, learn=learn
    )
    return distiller.fit(Batches(problem.source, 256, 0), STEPS, initial=first), distiller.losses_


def main() -> None:
    torch.set_num_threads(1)  # the networks are small
    problem = digits_problem(40)
    order = torch.randperm(len(problem.source), generator=torch.Generator().manual_seed(0))[:SIZE]
    both, losses = distilled(problem, problem.source[order], ("x", "y"))
    sets = {
        "distilled": both,
        "random": real_pairs(problem.source, problem.teacher, order),
        "herding": real_pairs(problem.source, problem.teacher, herding(problem.teacher(problem.source), SIZE)),
        "only images": distilled(problem, problem.source[order], ("x",))[0],
        "only vectors": distilled(problem, problem.source[order], ("y",))[0],
    }
    errors = {}
    for name, pairs in sets.items():
        errors[name] = held_out_error(pairs, problem)
        print(f"{name}: held-out distance from the teacher {errors[name]:.4f}", flush=True)
    sets["from labels"] = KernelInducingPoints(SIZE).fit(problem.source, problem.source_labels, 300)
    scores = {}
    for name in ("distilled", "random", "herding", "from labels"):
        scores[name] = transfer(sets[name], problem, SEEDS)
        print(f"{name}: few-shot accuracies {[round(s, 4) for s in scores[name]]}", flush=True)
    scores["not pre-trained"] = [few_shot(fresh_student(64, 100 + s), problem) for s in range(SEEDS)]
    teacher = few_shot(problem.teacher.teacher, problem)
    drop = 1 - errors["distilled"] / errors["random"]
    measured = [
        Measured("held-out distance from the teacher: drop against random", drop, ">= 0.3", drop >= 0.3),
        Measured("the same against herding", 1 - errors["distilled"] / errors["herding"]),
    ]
    for name in ("only images", "only vectors"):
        worse = errors[name] / errors["distilled"]
        measured.append(Measured(f"distance, {name} learned / both", worse, "> 1", worse > 1))
    for name in ("random", "herding", "from labels"):
        gain = fmean(scores["distilled"]) - fmean(scores[name])
        measured.append(Measured(f"few-shot accuracy above {name}", gain, ">= 0.02", gain >= 0.02))
    measured += [Measured(f"few-shot accuracy, {name}", fmean(found)) for name, found in scores.items()]
    measured.append(Measured("few-shot accuracy, teacher", teacher))
    record(
        SYSTEM.name, measured, picture=picture(losses, sets["random"], both), errors=errors, scores=scores,
        losses=losses,
        setting={"size": SIZE, "outer steps": STEPS, "seeds": SEEDS, "pool_reset": "intended"},
    )  # fmt: skip


if __name__ == "__main__":
    main()
