"""The body of a kernel while it is written: lines with names, of which the superfluous ones vanish in the end.

A value that is used once, and not inside a deeper loop than it was made in, moves into the line that uses it; one that
nobody uses is dropped. So generators may name everything, and a reader sees expressions of a human size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WIDEST = 96  # characters of a line that absorbed another one


@dataclass
class _Line:
    depth: int
    block: int
    text: str
    name: str = ""  # of the value that the line defines
    kind: str = "effect"  # "pure": may vanish or move; "load": may vanish
    tight: bool = True  # does the expression bind as tightly as a call?


class Body:
    """Lines of a function. Names are unique; expressions mention names as whole words."""

    def __init__(self, depth: int = 1) -> None:
        self._lines: list[_Line] = []
        self._depth, self._block, self._blocks = depth, 0, 0
        self._stack: list[int] = []
        self._names: set[str] = set()

    def name(self, wanted: str) -> str:
        """A name that nothing here has yet."""
        found, number = wanted, 1
        while found in self._names:
            found, number = f"{wanted}_{number}", number + 1
        self._names.add(found)
        return found

    def reserve(self, name: str) -> None:
        """Keep a name from being given."""
        self._names.add(name)

    def define(self, name: str, text: str, kind: str = "pure", tight: bool = True) -> str:
        """``name = text``; returns the name."""
        self._lines.append(_Line(self._depth, self._block, text, name, kind, tight))
        return name

    def effect(self, text: str) -> None:
        """A line that stays where it is."""
        self._lines.append(_Line(self._depth, self._block, text))

    def open(self, text: str) -> None:
        """Begin a loop or a branch."""
        self.effect(text)
        self._stack.append(self._block)
        self._blocks += 1
        self._block = self._blocks
        self._depth += 1

    def close(self) -> None:
        """End it."""
        self._depth -= 1
        self._block = self._stack.pop()

    def finished(self) -> list[str]:
        """The lines as text."""
        lines = _pruned(self._lines)
        _inline(lines)
        return ["    " * x.depth + (f"{x.name} = {x.text}" if x.name else x.text) for x in lines]


_WORD = re.compile(r"[A-Za-z_]\w*")


def _pruned(lines: list[_Line]) -> list[_Line]:
    needed: set[str] = set()
    kept: list[_Line] = []
    for line in reversed(lines):
        if line.kind == "effect" or line.name in needed:
            needed.update(_WORD.findall(line.text))
            kept.append(line)
    return kept[::-1]


def _inline(lines: list[_Line]) -> None:
    """Move what is used once into the line that uses it."""
    uses: dict[str, list[_Line]] = {}
    for line in lines:
        for word in _WORD.findall(line.text):
            uses.setdefault(word, []).append(line)
    for line in [x for x in lines if x.kind == "pure"]:
        users = uses.get(line.name, [])
        if len(users) != 1 or users[0].block != line.block:
            continue
        user = users[0]
        alone = user.text == line.name
        text = line.text if line.tight or alone or _is_argument(user.text, line.name) else f"({line.text})"
        joined = re.sub(rf"\b{line.name}\b", lambda _, text=text: text, user.text)  # type: ignore[misc]
        if len(joined) + len(user.name) + 4 * user.depth + 3 > WIDEST:
            continue
        user.text = joined
        user.tight = user.tight if not alone else line.tight
        for word in _WORD.findall(line.text):
            uses[word] = [user if x is line else x for x in uses[word]]
        lines.remove(line)


def _is_argument(text: str, name: str) -> bool:
    """Does the name stand alone between brackets or commas?"""
    return re.search(rf"(?:[(\[=]|, ){name}[,)\]]", text) is not None
