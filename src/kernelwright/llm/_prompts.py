"""Prompts: versioned files beside this one, filled in with the task, the machine and what was learnt so far.

``prompt.vN.md`` has one block for each kind of request; ``<language>.vN.md`` the rules of a target, one a line;
``example.*`` a file of the right form for another task. A change of wording is a new version: transcripts name theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from ._attempt import Attempt, Context
from ._chat import Message
from ._features import FEATURES, Credit
from ._host import Host
from ._profile import time_facts

VERSION = 1
EXAMPLE_TASK = "lambda x: x / (1 + x.abs().mean(-1, keepdim=True)), x of 96 x 250"
_EXAMPLES = {"cpp": "example.cpp", "python": "example.triton.txt", "cuda": "example.cu"}
_RULES = {"cpp": "cpp", "python": "triton", "cuda": "cuda"}
_STAGES = {"compile": "It does not compile", "correct": "It is not correct", "answer": "It is no candidate"}
_LONGEST = 24_000  # characters of somebody's code in a prompt


@dataclass(frozen=True)
class Facts:
    """What every prompt of a search says: the reference's text, the machine, and how much work there is."""

    reference: str
    machine: tuple[str, ...] = ()
    work: tuple[str, ...] = ()


def messages(context: Context, facts: Facts, host: Host, credit: Credit | None = None) -> tuple[Message, ...]:
    """The conversation for a context: who the model is to be, and what is asked of it."""
    values = _values(context, facts, host, credit)
    return Message("system", _block("system", values)), Message("user", _block(context.kind, values))


def example(language: str) -> str:
    """The text of the example for a language."""
    return _file(_EXAMPLES[language])


def fits(attempt: Attempt) -> bool:
    """Whether an attempt's code is short enough to be shown."""
    return attempt.draft.candidate is not None and len(attempt.draft.candidate.source) <= _LONGEST


def _values(context: Context, facts: Facts, host: Host, credit: Credit | None) -> dict[str, Any]:
    parent = context.parents[0] if context.parents else None
    other = context.parents[1] if len(context.parents) > 1 else None
    worth = [(name, credit.worth(name)) for name in FEATURES] if credit is not None else []
    return {
        "rules": _rules(host.language),
        "comment": "#" if host.language == "python" else "//",
        "all_features": FEATURES,
        "language": host.language,
        "example": example(host.language).strip(),
        "example_task": EXAMPLE_TASK,
        "machine": facts.machine,
        "work": facts.work,
        "reference": facts.reference.strip(),
        "signature": host.signature,
        "features": sorted(context.features),
        "code": _code(parent),
        "stage": _STAGES.get(parent.grade.stage, "It failed") if parent else "",
        "reason": parent.grade.reason if parent else "",
        "evidence": _evidence(parent),
        "profile": time_facts(parent.grade.measurement) if parent else [],
        "credit": [(name, value) for name, value in worth if abs(value - 1) >= 0.02],
        "failures": _failures(context.history),
        "other": _code(other),
        "other_features": sorted(other.features) if other else [],
    }


def _code(attempt: Attempt | None) -> str:
    """What the model wrote, without what was put around it."""
    return attempt.draft.text.strip() if attempt is not None else ""


def _evidence(attempt: Attempt | None) -> list[str]:
    """The failing case: which inputs, and how wrong."""
    verdict = attempt.grade.verdict if attempt is not None else None
    if verdict is None or not verdict.checks:
        return []
    check = verdict.checks[-1]
    passed = len(verdict.checks) - 1
    return [
        f"{passed} cases passed; on {check.structure} inputs it is wrong by {check.error:.3g} times what is allowed. "
        f"{check.detail}"
    ]


def _failures(history: Sequence[Attempt]) -> list[str]:
    failed = [attempt for attempt in history if not attempt.grade.accepted]
    return [f"{', '.join(sorted(a.features)) or 'no named feature'}: {a.grade.reason}" for a in failed]


def _rules(language: str) -> list[str]:
    lines = _file(f"{_RULES[language]}.v{VERSION}.md").splitlines()
    return [line.removeprefix("- ") for line in lines if line.startswith("- ")]


def _block(name: str, values: dict[str, Any]) -> str:
    template = _environment().get_template(f"prompt.v{VERSION}.md")
    text = "".join(template.blocks[name](template.new_context(values)))
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_file), trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )


@cache
def _file(name: str) -> str:
    return files(__package__).joinpath("prompts", name).read_text("utf-8")
