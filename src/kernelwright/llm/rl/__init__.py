"""Training a model that writes Triton: pairs to learn from, rewards, supervised then reinforced, and what it can do.

AutoTriton (arXiv 2507.05687). The trainers are trl's; what is ours is the reward, which must not be fooled.
"""

from ._box import Box, Ran
from ._checkpoint import CheckpointLesson, checkpoint_lesson, examine_checkpoint, learn_checkpoint
from ._evaluate import Channels, Graded, channels, fast_p
from ._exam import Exam, from_prose, from_tokens
from ._grammar import Spec, draw_specs, render
from ._lesson import (
    Learnt,
    Lesson,
    examine,
    imitate,
    learn,
    lesson_exam,
    lesson_from,
    read_lesson,
    read_toml,
    reinforce,
)
from ._model import tiny_model, tiny_tokenizer
from ._pairs import (
    Collected,
    Pair,
    Translator,
    as_program,
    collect_modules,
    inductor_source,
    instruction,
    make_pair,
    make_sft_example,
    verify_pair,
)
from ._reward import CombinedReward, ExecutionReward, Outcome, RewardTask, Scored, combined_reward
from ._rules import RuleReport, TritonRules
from ._spread import Spread
from ._train import GrpoOptions, SftOptions, grpo, sample, sft

__all__ = [
    "Box",
    "Channels",
    "CheckpointLesson",
    "Collected",
    "CombinedReward",
    "Exam",
    "ExecutionReward",
    "Graded",
    "GrpoOptions",
    "Learnt",
    "Lesson",
    "Outcome",
    "Pair",
    "Ran",
    "RewardTask",
    "RuleReport",
    "Scored",
    "SftOptions",
    "Spec",
    "Spread",
    "Translator",
    "TritonRules",
    "as_program",
    "channels",
    "checkpoint_lesson",
    "collect_modules",
    "combined_reward",
    "draw_specs",
    "examine",
    "examine_checkpoint",
    "fast_p",
    "from_prose",
    "from_tokens",
    "grpo",
    "imitate",
    "inductor_source",
    "instruction",
    "learn",
    "learn_checkpoint",
    "lesson_exam",
    "lesson_from",
    "make_pair",
    "make_sft_example",
    "read_lesson",
    "read_toml",
    "reinforce",
    "render",
    "sample",
    "sft",
    "tiny_model",
    "tiny_tokenizer",
    "verify_pair",
]
