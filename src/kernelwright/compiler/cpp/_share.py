"""One function for kernels that differ in names alone: the layers of a network repeat, their compile time need not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ._code import KernelCode

T = TypeVar("T")
_IDENTIFIER = re.compile(r"(?<![\w.])[A-Za-z_]\w*")  # not the x1 of 0x1
_AXIS = re.compile(r"a\d+")


def share(steps: Sequence[KernelCode | T]) -> list[KernelCode | T]:
    """The steps; a kernel whose text an earlier one has, but for names, calls that one's function instead."""
    first: dict[str, str] = {}
    shared: list[KernelCode | T] = []
    for step in steps:
        if isinstance(step, KernelCode):
            function = first.setdefault(_canonical(step), step.name)
            shared.append(step if function == step.name else replace(step, source="", function=function))
        else:
            shared.append(step)
    return shared


def _canonical(kernel: KernelCode) -> str:
    """The text with the kernel's own names (itself, its tensors, its axes) numbered in the order they occur."""
    own = {kernel.name, *kernel.tensors}
    numbers: dict[str, str] = {}
    known: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        text = match.group()
        if text not in known:
            known[text] = "_".join(
                numbers.setdefault(part, f"${len(numbers)}") if _is_own(part, own) else part
                for part in _parts(text, own)
            )
        return known[text]

    return _IDENTIFIER.sub(rename, kernel.source)


def _parts(text: str, own: set[str]) -> Iterator[str]:
    """The own names that a name is made of (``t3_packed``, ``a7_a8_end``), and the words between them."""
    words = text.split("_")
    first = 0
    while first < len(words):
        ends = range(len(words), first, -1)
        last = next((end for end in ends if _is_own("_".join(words[first:end]), own)), first + 1)
        yield "_".join(words[first:last])
        first = last


def _is_own(name: str, own: set[str]) -> bool:
    return name in own or _AXIS.fullmatch(name) is not None


__all__ = ["share"]
