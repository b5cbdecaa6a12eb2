"""The same lesson for a real checkpoint on a GPU: a compiler's pairs to imitate, modules without answers to solve."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ModelMissing, OptionInvalid
from ._box import Box
from ._evaluate import Channels, channels
from ._exam import Exam, from_prose
from ._lesson import Learnt, made_of
from ._pairs import Pair, collect_modules, instruction, make_sft_example
from ._reward import RewardTask
from ._spread import Spread
from ._train import GrpoOptions, SftOptions, grpo, sample, sft


@dataclass(frozen=True)
class CheckpointLesson:
    """``checkpoint``: a folder or a name that ``transformers`` knows. ``rank``: of LoRA adapters; 0 trains all weights.

    ``package``: whose modules are asked for; ``imitated`` and ``examined``: shares of them, the rest is rewarded.
    """

    checkpoint: str
    package: str = "torch.nn"
    imitated: float = 0.5
    examined: float = 0.25
    rank: int = 16
    rules: bool = True
    seed: int = 0
    sft: SftOptions = field(default_factory=lambda: SftOptions(learning_rate=1e-5, batch=1))
    grpo: GrpoOptions = field(default_factory=lambda: GrpoOptions(learning_rate=1e-6, batch=8, longest=2048))


def checkpoint_lesson(data: dict[str, Any], path: Path) -> CheckpointLesson:
    """A lesson from the contents of a file. Raises ``OptionInvalid``."""
    given = dict(data)
    made = {n: made_of(k, given.pop(n, {}), path, n) for n, k in (("sft", SftOptions), ("grpo", GrpoOptions))}
    lesson: CheckpointLesson = made_of(CheckpointLesson, given | made, path, "the file itself")
    if not (lesson.imitated >= 0 and lesson.examined >= 0 and lesson.imitated + lesson.examined < 1):
        raise OptionInvalid(f"{path}: imitated and examined must be shares that leave something to be rewarded.")
    return lesson


def learn_checkpoint(
    lesson: CheckpointLesson,
    pairs: Sequence[Pair],
    box: Box,
    said: Callable[[str], None] = lambda text: None,
    spread: Callable[[Sequence[RewardTask]], Spread] | None = None,
) -> tuple[Any, Any, Learnt]:
    """Imitate verified ``pairs``, then reinforce on modules without answers. Raises ``ModelMissing``, ``WallsMissing``.

    ``spread`` makes what scores elsewhere.
    """
    model, tokenizer = _load(lesson.checkpoint)
    imitated, rewarded, examined = _parts(lesson)
    exam = Exam([*rewarded, *examined], box, timeout_s=30.0, extract=from_prose)
    rows = [make_sft_example(pair) for pair in pairs if pair.verified and pair.name in imitated]
    said(f"{len(rows)} programs to imitate, {len(rewarded)} tasks to be rewarded for, {len(examined)} to examine on")
    adapters = _adapters(lesson.rank)
    model = sft(model, tokenizer, [(r["prompt"], r["completion"]) for r in rows], lesson.sft, adapters=adapters)
    before = _examine(lesson, model, tokenizer, exam, examined)
    said(f"after imitating: {before.execution:.1%} of held-out tasks are right")
    elsewhere = spread(rewarded) if spread is not None else None

    def score(prompts: Sequence[str], answers: Sequence[str]) -> Sequence[float]:
        if elsewhere is not None:
            return elsewhere.score(exam.programs(prompts, answers), rules=lesson.rules)
        return exam.score(prompts, answers, rules=lesson.rules)

    prompts = [task.instruction + "\n" for task in rewarded]
    model, rewards = grpo(model, tokenizer, prompts, score, lesson.grpo)
    after = _examine(lesson, model, tokenizer, exam, examined)
    return model, tokenizer, Learnt(before, after, tuple(rewards))


def examine_checkpoint(lesson: CheckpointLesson, folder: Path, box: Box) -> Channels:
    """The channels of a trained model in a folder. Raises ``ModelMissing``."""
    model, tokenizer = _load(str(folder))
    _, _, examined = _parts(lesson)
    return _examine(lesson, model, tokenizer, Exam(examined, box, timeout_s=30.0, extract=from_prose), examined)


def _examine(
    lesson: CheckpointLesson, model: Any, tokenizer: Any, exam: Exam, examined: Sequence[RewardTask]
) -> Channels:
    prompts = [task.instruction + "\n" for task in examined]
    answers = [
        sample(model, tokenizer, [prompt], longest=lesson.grpo.longest, seed=number)[0]
        for number, prompt in enumerate(prompts)
    ]
    return channels(exam.grade(prompts, answers))


def _parts(lesson: CheckpointLesson) -> tuple[set[str], list[RewardTask], list[RewardTask]]:
    """Names to imitate, tasks to be rewarded for, tasks to examine on."""
    modules = list(collect_modules(lesson.package))
    random.Random(lesson.seed).shuffle(modules)
    first, last = int(lesson.imitated * len(modules)), int((1 - lesson.examined) * len(modules))
    tasks = [RewardTask(m.name, instruction(m), m, m.draw) for m in modules]
    return {m.name for m in modules[:first]}, tasks[first:last], tasks[last:]


def _load(checkpoint: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForCausalLM.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise ModelMissing(f"The checkpoint {checkpoint!r} cannot be loaded: {said}") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def _adapters(rank: int) -> Any:
    if rank == 0:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


__all__ = ["CheckpointLesson", "checkpoint_lesson", "examine_checkpoint", "learn_checkpoint"]
