"""From a model's answer to the text of a candidate; whatever is wrong with it becomes a sentence of ours.

Of the answer's own words nothing is quoted: they go into tables, reports and further prompts. And a C++ text may not
make the compiler read the user's files: what the compiler says of them would go back to the model in the next prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._chat import Answer
from ._features import FEATURES, Features

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[ \t]*\r?\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_OPEN = re.compile(r"^[ \t]*```", re.MULTILINE)
_FEATURES = re.compile(r"^[ \t]*(?://|#)[ \t]*features:(.*)$", re.MULTILINE | re.IGNORECASE)
_LONGEST = 200_000  # characters of a candidate

# Lines that may begin with #: none of them names a file, or only one that belongs to the compiler or to us.
_DIRECTIVE = re.compile(
    r"[ \t]*\#[ \t]*(?:"
    r"include[ \t]*<(?:kw/)?[a-z_0-9]+(?:\.h)?>"
    r"|(?:define|undef|if|ifdef|ifndef|elif|else|endif)\b(?:(?!\#).)*"
    r"|pragma[ \t]+(?:omp|once|unroll|GCC[ \t]+(?:unroll|ivdep|optimize|target|push_options|pop_options))\b(?:(?!\#).)*"
    r")[ \t]*(?://[^#]*)?"
)
_ASSEMBLER = re.compile(r"\b(?:asm|__asm|__asm__|_Pragma|import)\b|%:|\?\?=")


@dataclass(frozen=True)
class Text:
    """What an answer holds: code and the features it claims, or the sentence that says why there is none."""

    code: str = ""
    features: Features = frozenset()
    fault: str = ""


def read_answer(answer: Answer, entry: str) -> Text:
    """The longest piece of code in an answer; one of nothing but code must define ``entry``."""
    if answer.finish == "late":
        return Text(fault="Time was up before the answer was complete.")
    pieces = [code for _, code in _FENCE.findall(answer.text)]
    code = max(pieces, key=len, default="")
    if not code and not _OPEN.search(answer.text) and f"{entry}(" in answer.text and answer.finish == "stop":
        code = answer.text
    if not code.strip():
        return Text(fault=_why_none(answer))
    if len(code) > _LONGEST:
        return Text(fault=f"Its code has {len(code)} characters; a candidate may have {_LONGEST}.")
    claimed = [name.strip().lower() for line in _FEATURES.findall(code) for name in line.split(",")]
    return Text(code.strip() + "\n", frozenset(claimed) & frozenset(FEATURES))


def reaches_out(code: str) -> str:
    """Why a C++ or CUDA text may not be shown to the compiler, as a sentence; "" when it may.

    Strict where it can be: a ``#`` that begins no known line is refused even in a comment.
    """
    for number, line in enumerate(code.replace("\\\r\n", "").replace("\\\n", "").split("\n"), 1):
        if "#" in line and not _DIRECTIVE.fullmatch(line.rstrip("\r")):
            return (
                f"Line {number} has a # that begins none of the lines that are allowed: #include of a standard or <kw/>"
                " header, #define without ##, conditions, and OpenMP or unrolling pragmas."
            )
        if _ASSEMBLER.search(line):
            return f"Line {number} has inline assembly, an import or a spelling of # that is not allowed."
    return ""


def _why_none(answer: Answer) -> str:
    if not answer.text.strip():
        return "The answer is empty."
    if answer.finish == "length":
        return f"The answer was cut off after {len(answer.text)} characters, before its code was complete."
    if _OPEN.search(answer.text):
        return "The answer's code block is not closed, or holds nothing."
    return f"The answer holds no code, only {len(answer.text)} characters of other text."
