"""One function for kernels that differ in names alone: the layers of a network repeat, their compile time need not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ._code import KernelCode

T = TypeVar("T")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
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

    def rename(match: re.Match[str]) -> str:
        text = match.group()
        root = text if text in own or _AXIS.fullmatch(text) else _root(text, own)
        if root is None:
            return text
        return numbers.setdefault(root, f"${len(numbers)}") + text[len(root) :]

    return _IDENTIFIER.sub(rename, kernel.source)


def _root(text: str, own: set[str]) -> str | None:
    """The own name that a derived one (``t3_packed``, ``a7_end``) begins with."""
    parts = text.split("_")
    for k in range(len(parts) - 1, 0, -1):
        head = "_".join(parts[:k])
        if head in own or _AXIS.fullmatch(head):
            return head
    return None


__all__ = ["share"]
