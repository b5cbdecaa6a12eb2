"""Supervised, then reinforced: trl's trainers with our rewards. Nothing of the optimisation is ours.

The objective is GRPO's as the paper uses it (arXiv 2507.05687): a binary reward, advantages within the group of answers
to one prompt, no speed term.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Score = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""From prompts and answers to rewards, in order."""


@dataclass(frozen=True)
class SftOptions:
    """``extra`` goes to ``trl.SFTConfig`` as it is."""

    epochs: float = 3.0
    learning_rate: float = 1e-3
    batch: int = 32
    seed: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GrpoOptions:
    """``batch`` answers a step in groups of ``group``; ``extra`` goes to ``trl.GRPOConfig`` as it is."""

    steps: int = 40
    learning_rate: float = 3e-4
    batch: int = 64
    group: int = 8
    longest: int = 28
    temperature: float = 1.0
    seed: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


def sft(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], options: SftOptions, *, adapters: Any = None
) -> Any:
    """Train on prompts and answers, with the loss on answers alone; returns the model.

    ``model``: a ``transformers`` causal model, or the name of a checkpoint. ``adapters``: a ``peft`` configuration.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_dict({"prompt": [p for p, _ in pairs], "completion": [f" {a}" for _, a in pairs]})
    with tempfile.TemporaryDirectory(prefix="kernelwright-") as folder:
        settings: dict[str, Any] = {
            "num_train_epochs": options.epochs,
            "per_device_train_batch_size": options.batch,
            "learning_rate": options.learning_rate,
            "lr_scheduler_type": "cosine",
            "seed": options.seed,
            "completion_only_loss": True,
            **_quiet(folder),
        }
        args = SFTConfig(**(settings | dict(options.extra)))
        trainer = SFTTrainer(
            model=model, args=args, train_dataset=rows, processing_class=tokenizer, peft_config=adapters
        )
        trainer.train()
        return trainer.model


def grpo(
    model: Any, tokenizer: Any, prompts: Sequence[str], score: Score, options: GrpoOptions, *, adapters: Any = None
) -> tuple[Any, list[float]]:
    """Reinforce what ``score`` rewards; returns the model and the mean reward of every step."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def reward(prompts: Sequence[str], completions: Sequence[str], **_: Any) -> list[float]:
        return [float(found) for found in score(prompts, completions)]

    with tempfile.TemporaryDirectory(prefix="kernelwright-") as folder:
        settings: dict[str, Any] = {
            "max_steps": options.steps,
            "per_device_train_batch_size": options.batch,
            "num_generations": options.group,
            "learning_rate": options.learning_rate,
            "lr_scheduler_type": "constant",
            "max_completion_length": options.longest,
            "temperature": options.temperature,
            "beta": 0.0,
            "seed": options.seed,
            "logging_steps": 1,
            **_quiet(folder),
        }
        args = GRPOConfig(**(settings | dict(options.extra)))
        rows = Dataset.from_dict({"prompt": list(prompts)})
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=args,
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=adapters,
        )
        trainer.train()
        return trainer.model, [float(row["reward"]) for row in trainer.state.log_history if "reward" in row]


def sample(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, temperature: float = 1.0, longest: int = 28, seed: int = 0
) -> list[str]:
    """An answer for each prompt; ``temperature`` 0: the likeliest tokens."""
    import torch

    torch.manual_seed(seed)
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    given = tokenizer(list(prompts), return_tensors="pt", padding=True).to(model.device)
    tokenizer.padding_side = side
    given.pop("token_type_ids", None)
    how: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        how |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
    model.eval()
    with torch.no_grad():
        found = model.generate(**given, max_new_tokens=longest, pad_token_id=tokenizer.pad_token_id, **how)
    answers: list[str] = tokenizer.batch_decode(found[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


def _quiet(folder: str) -> dict[str, Any]:
    import torch

    return {
        "output_dir": folder,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
    }


__all__ = ["GrpoOptions", "Score", "SftOptions", "grpo", "sample", "sft"]
