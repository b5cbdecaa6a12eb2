"""Values of options: what is allowed, and the sentence for what is not."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from kernelwright.errors import OptionInvalid, TargetUnknown

EFFORTS = ("quick", "balanced", "full")
SCALES = ("official", "cpu")


def check_choice(option: str, value: str, choices: Sequence[str]) -> str:
    """The value if it is one of the choices."""
    if value not in choices:
        raise OptionInvalid(f"{option} is {value!r}; it must be one of {', '.join(choices)}.")
    return value


def check_budget(value: float) -> float:
    """A number of seconds above zero."""
    if not (math.isfinite(value) and value > 0):
        raise OptionInvalid(f"--budget is {value:g}; it must be a number of seconds above 0.")
    return value


def check_target(value: str) -> str:
    """A target that exists. The names come from the targets themselves, which need torch: asked for last."""
    from kernelwright.targets import TARGETS

    if value not in TARGETS:
        raise TargetUnknown(f"--target is {value!r}; it must be one of {', '.join(TARGETS)}.")
    return value


def command_line(command: str, positional: Sequence[str], **options: object) -> str:
    """The command that makes a result again; options that are None are left out."""
    words = ["kernelwright", *command.split(), *positional]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)
