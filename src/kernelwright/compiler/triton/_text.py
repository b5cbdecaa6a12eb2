"""The body of a kernel while it is written: lines with names, of which the superfluous ones vanish in the end.

A value that is used once, and not inside a deeper loop than it was made in, moves into the line that uses it; one that
nobody uses is dropped. So generators may name everything, and a reader sees expressions of a human size.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

WIDEST = 96  # characters of a line that absorbed another one
LONGEST = 112  # characters of a line that stays one


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

    def mentions(self, name: str) -> bool:
        """Is the name in any line?"""
        return any(name in _WORD.findall(line.text) for line in self._lines)

    def finished(self) -> list[str]:
        """The lines as text."""
        lines = _pruned(self._lines)
        _inline(lines)
        return [text for x in lines for text in _broken("    " * x.depth, _plain(x))]


def wrapped(line: str) -> list[str]:
    """A definition or call that may be too long for one line."""
    return _broken("", line)


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
    uses: dict[str, list[_Line]] = {}  # a line as often as it mentions the name
    for line in lines:
        for word in _WORD.findall(line.text):
            uses.setdefault(word, []).append(line)
    for line in [x for x in lines if x.kind == "pure"]:
        users = uses.get(line.name, [])
        if len(users) != 1 or users[0].block != line.block:
            continue
        user = users[0]
        text = line.text if line.tight else f"({line.text})"
        joined = re.sub(rf"\b{line.name}\b", lambda _, text=text: text, user.text)  # type: ignore[misc]
        if len(joined) + len(user.name) + 4 * user.depth + 3 > WIDEST:
            continue
        user.text = joined
        for word in _WORD.findall(line.text):
            uses[word] = [user if x is line else x for x in uses[word]]
        lines.remove(line)


def _plain(line: _Line) -> str:
    """The line without needless brackets."""
    text = f"{line.name} = {line.text}" if line.name else line.text
    if line.kind == "effect" and line.text.endswith(":"):
        return text
    return ast.unparse(ast.parse(text)).replace("'", '"')


def _broken(indent: str, line: str) -> list[str]:
    """The line, or one that is too long with the arguments of its call below each other."""
    if len(indent) + len(line) <= LONGEST or "(" not in line:
        return [indent + line]
    head, tail = line.split("(", 1)
    arguments, rest = _arguments(tail)
    if rest is None:
        return [indent + line]
    joined = ", ".join(arguments)
    inner = [joined] if len(indent) + len(joined) + 4 <= LONGEST else [f"{a}," for a in arguments]
    return [f"{indent}{head}(", *(f"{indent}    {x}" for x in inner), f"{indent}){rest}"]


def _arguments(text: str) -> tuple[list[str], str | None]:
    """The arguments up to the bracket that closes the call, and what follows it."""
    depth, start = 0, 0
    found: list[str] = []
    for position, char in enumerate(text):
        if char in "([":
            depth += 1
        elif char in ")]" and depth:
            depth -= 1
        elif char == ")":
            return [*found, text[start:position].strip()], text[position + 1 :]
        elif char == "," and not depth:
            found.append(text[start:position].strip())
            start = position + 1
    return found, None
