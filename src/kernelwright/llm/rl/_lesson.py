"""The whole lesson of the tiny model, from a configuration: supervised, examined, reinforced, examined again."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import OptionInvalid
from ._box import Box
from ._evaluate import Channels, channels
from ._exam import Exam
from ._grammar import Spec, draw_specs
from ._model import tiny_model, tiny_tokenizer
from ._spread import Spread
from ._train import GrpoOptions, SftOptions, grpo, sample, sft


@dataclass(frozen=True)
class Lesson:
    """What is learnt: how many specs to imitate, to be rewarded for and to be examined on (no two of them the same).

    ``delegating``: the share of answers to imitate that leave the work to PyTorch, as texts found in the wild do.
    ``rules``: whether the reward demands Triton. ``tuning``: examine on a fourth set, that settings may be chosen on.
    """

    imitated: int = 300
    rewarded: int = 150
    examined: int = 60
    delegating: float = 0.2
    rules: bool = True
    tuning: bool = False
    seed: int = 0
    width: int = 160
    layers: int = 4
    sft: SftOptions = field(default_factory=SftOptions)
    grpo: GrpoOptions = field(default_factory=GrpoOptions)

    @property
    def specs(self) -> tuple[list[Spec], list[Spec], list[Spec]]:
        """To imitate, to be rewarded for, to be examined on: the same for every seed."""
        return _specs(self.imitated, self.rewarded, self.examined, self.tuning)


@lru_cache(maxsize=8)
def _specs(imitated: int, rewarded: int, examined: int, tuning: bool) -> tuple[list[Spec], list[Spec], list[Spec]]:
    first = draw_specs(1, imitated, (1, 2, 3))
    second = draw_specs(2, rewarded, (1, 2, 3), first)
    third = draw_specs(3, examined, (2, 3), [*first, *second])
    return first, second, draw_specs(4, examined, (2, 3), [*first, *second, *third]) if tuning else third


@dataclass(frozen=True)
class Learnt:
    """What a lesson came to: channels after imitating and after reinforcing, and rewards on the way."""

    imitating: Channels
    reinforced: Channels
    rewards: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {"sft": self.imitating.to_json(), "grpo": self.reinforced.to_json(), "rewards": list(self.rewards)}


def imitate(lesson: Lesson) -> tuple[Any, Any]:
    """The model after supervised training alone, and its tokenizer."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer, lesson.seed, width=lesson.width, layers=lesson.layers)
    rng = random.Random(lesson.seed)
    pairs = [
        (s.prompt, " ".join(s.delegating() if rng.random() < lesson.delegating else s.program()))
        for s in lesson.specs[0]
    ]
    return sft(model, tokenizer, pairs, lesson.sft), tokenizer


def reinforce(
    lesson: Lesson, model: Any, tokenizer: Any, exam: Exam, spread: Spread | None = None
) -> tuple[Any, list[float]]:
    """A copy of a model after GRPO, and the mean reward of each step; ``spread`` scores elsewhere."""
    fresh = tiny_model(tokenizer, lesson.seed, width=lesson.width, layers=lesson.layers)
    fresh.load_state_dict(model.state_dict())  # no copy: trainers hang methods on a model that mean this very one

    def score(prompts: Any, answers: Any) -> list[float]:
        if spread is not None:
            return spread.score(exam.programs(prompts, answers), rules=lesson.rules)
        return exam.score(prompts, answers, rules=lesson.rules)

    return grpo(fresh, tokenizer, [s.prompt for s in lesson.specs[1]], score, lesson.grpo)


def examine(lesson: Lesson, model: Any, tokenizer: Any, exam: Exam, *, temperature: float = 1.0) -> Channels:
    """The channels on specs that were neither imitated nor rewarded: two answers to each, one where greedy."""
    prompts = [s.prompt for s in lesson.specs[2]] * (2 if temperature else 1)
    answers = sample(model, tokenizer, prompts, temperature=temperature, longest=lesson.grpo.longest, seed=7)
    return channels(exam.grade(prompts, answers))


def learn(
    lesson: Lesson, box: Box, said: Callable[[str], None] = lambda text: None, spread: Spread | None = None
) -> tuple[Any, Any, Learnt]:
    """The whole lesson; ``said`` hears how far it is. Raises ``WallsMissing``."""
    exam = lesson_exam(lesson, box)
    model, tokenizer = imitate(lesson)
    before = examine(lesson, model, tokenizer, exam)
    said(f"after imitating {lesson.imitated} programs: {before.execution:.1%} of held-out kernels are right")
    model, rewards = reinforce(lesson, model, tokenizer, exam, spread)
    after = examine(lesson, model, tokenizer, exam)
    said(f"after {lesson.grpo.steps} steps of reinforcement: {after.execution:.1%}")
    return model, tokenizer, Learnt(before, after, tuple(rewards))


def lesson_exam(lesson: Lesson, box: Box) -> Exam:
    """The rewards of all specs that are not imitated."""
    _, rewarded, examined = lesson.specs
    return Exam([s.task() for s in (*rewarded, *examined)], box, trials=1)


def read_lesson(path: Path) -> Lesson:
    """A lesson from a TOML file: the fields above, with tables ``sft`` and ``grpo``. Raises ``OptionInvalid``."""
    return lesson_from(read_toml(path), path)


def read_toml(path: Path) -> dict[str, Any]:
    """Raises ``OptionInvalid``."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionInvalid(f"CONFIG is {str(path)!r}, which is no TOML file that can be read: {error}.") from None


def lesson_from(data: Mapping[str, Any], path: Path) -> Lesson:
    """A lesson from the contents of a file. Raises ``OptionInvalid``."""
    given = dict(data)
    tables = {"sft": SftOptions, "grpo": GrpoOptions}
    made: dict[str, Any] = {name: made_of(kind, given.pop(name, {}), path, name) for name, kind in tables.items()}
    lesson: Lesson = made_of(Lesson, given | made, path, "the file itself")
    return lesson


_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "bool": (bool,), "float": (float, int), "str": (str,)}


def made_of(kind: Any, given: Any, path: Path, table: str) -> Any:
    """A dataclass from a table of a file. Raises ``OptionInvalid``."""
    known = {f.name: f.type for f in fields(kind)}
    strange = sorted(set(given) - set(known)) if isinstance(given, Mapping) else [table]
    if strange:
        raise OptionInvalid(f"{path}: {table} has no setting {strange[0]!r}; there are {', '.join(known)}.")
    for name, value in given.items():
        wanted = _TYPES.get(str(known[name]))
        if wanted is not None and type(value) not in wanted:
            raise OptionInvalid(f"{path}: {name} is {value!r}; it must be of type {known[name]}.")
    return kind(**given)


__all__ = [
    "Learnt", "Lesson", "examine", "imitate", "learn", "lesson_exam", "lesson_from", "made_of", "read_lesson",
    "read_toml", "reinforce",
]  # fmt: skip
