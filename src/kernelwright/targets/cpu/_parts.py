"""Splits a long source into parts that compile side by side: a network of a hundred kernels must not wait for one core.

A candidate stays one text, and a short one is compiled as it is. Marks in a long one say where its kernels begin: its
parts are runs of kernels, and what calls them. A search that changes one kernel compiles one part anew.
"""

from __future__ import annotations

import re

KERNEL_MARK = "// kernel"
ENTRIES_MARK = "// entries"

_MARK = re.compile(rf"^({KERNEL_MARK}|{ENTRIES_MARK})\n", re.MULTILINE)
_FUNCTION = re.compile(r"^static (void \w+\([^{;]*\)) \{$", re.MULTILINE)
_TOGETHER = 4  # kernels in a part: a compiler's start costs about as much as a fourth of a convolution
_FEW = 6  # kernels that one compiler deals with as fast as two


def split(source: str) -> tuple[str, ...]:
    """The translation units of a source, which is its own only one when it is short or has no marks."""
    head, *rest = _MARK.split(source)
    pieces = list(zip(rest[::2], rest[1::2], strict=True))
    kernels = [text for mark, text in pieces if mark == KERNEL_MARK]
    entries = [text for mark, text in pieces if mark == ENTRIES_MARK]
    if len(kernels) < _FEW:
        return (source,)
    functions = [_FUNCTION.findall(text) for text in kernels]
    if not all(functions):
        return (source,)
    shown = [_show(text, found[-1]) for text, found in zip(kernels, functions, strict=True)]
    runs = [shown[k : k + _TOGETHER] for k in range(0, len(shown), _TOGETHER)]
    declared = "".join(f"{found[-1]};\n" for found in functions)
    return (*("".join((head, *run)) for run in runs), "".join((head, declared, *entries)))


def _show(text: str, signature: str) -> str:
    """The kernel with a function that other parts can call."""
    return text.replace(f"static {signature} {{", f"{signature};\n{signature} {{")


__all__ = ["ENTRIES_MARK", "KERNEL_MARK", "split"]
