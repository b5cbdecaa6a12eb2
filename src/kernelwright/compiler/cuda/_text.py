"""The body of a kernel while it is written: definitions with names, of which the superfluous ones vanish in the end.

As for Triton, a value that is used once moves into the line that uses it and one that nobody uses is dropped, so that
generators may name everything; here with the types and the precedence of C++.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WIDEST = 96  # characters of a line that absorbed another one
LONGEST = 116  # characters of a line that stays one

# How tightly an expression binds: less is tighter. A call, a name, a subscript; a sign or cast; then C++'s operators.
ATOM, UNARY, PRODUCT, SUM, SHIFT, ORDER, EQUAL, BITAND, BITXOR, BITOR, AND, OR, CHOICE = range(13)
_OPERATORS = {
    "*": PRODUCT, "/": PRODUCT, "%": PRODUCT, "+": SUM, "-": SUM, "<<": SHIFT, ">>": SHIFT, "<": ORDER, ">": ORDER,
    "<=": ORDER, ">=": ORDER, "==": EQUAL, "!=": EQUAL, "&": BITAND, "^": BITXOR, "|": BITOR, "&&": AND, "||": OR,
    "?": CHOICE, ":": CHOICE,
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z_]\w*")
_BEFORE = re.compile(r"(\S+) $")
_AFTER = re.compile(r" (\S+) ")


@dataclass
class _Line:
    depth: int
    block: int
    text: str
    name: str = ""  # of the value that the line defines
    type: str = ""
    kind: str = "effect"  # "pure": may vanish or move; "load": may vanish
    binds: int = ATOM


class Body:
    """Lines of a function. Names are unique; expressions mention names as whole words, operators between blanks."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._depth, self._block, self._blocks = 1, 0, 0
        self._stack: list[int] = []
        self._names: dict[str, str] = {}  # name -> what was wanted
        self._reserved: set[str] = set()

    def name(self, wanted: str) -> str:
        """A name that nothing here has yet."""
        found, number = wanted, 1
        while found in self._names:
            found, number = f"{wanted}_{number}", number + 1
        self._names[found] = wanted
        return found

    def reserve(self, name: str) -> None:
        """Keep a name, which means the same in all of the function, from being given."""
        self._names[name] = name
        self._reserved.add(name)

    def define(self, wanted: str, kind_of: str, text: str, *, kind: str = "pure", binds: int = ATOM) -> str:
        """``const TYPE name = text;`` under a name like the one that is wanted, which is returned."""
        name = self.name(wanted)
        self._lines.append(_Line(self._depth, self._block, text, name, kind_of, kind, binds))
        return name

    def effect(self, text: str) -> None:
        """A line that stays where it is."""
        self._lines.append(_Line(self._depth, self._block, text))

    def comment(self, text: str) -> None:
        """A line for the reader."""
        self.effect(f"// {text}")

    def open(self, text: str) -> None:
        """Begin a loop or a branch."""
        self.effect(f"{text} {{")
        self._stack.append(self._block)
        self._blocks += 1
        self._block = self._blocks
        self._depth += 1

    def close(self) -> None:
        """End it."""
        self._depth -= 1
        self._block = self._stack.pop()
        self.effect("}")

    def finished(self) -> list[str]:
        """The lines as text."""
        lines = _pruned(self._lines)
        _inline(lines)
        texts = self._renamed(lines)
        return [text for line, plain in zip(lines, texts, strict=True) for text in broken("  " * line.depth, plain)]

    def _renamed(self, lines: list[_Line]) -> list[str]:
        """The lines, where each name is as it was wanted unless another one of that name can be seen."""
        scopes: list[set[str]] = [self._reserved]
        given = {name: name for name in self._reserved}
        texts: list[str] = []
        for line in lines:
            del scopes[line.depth + 1 :]
            text = _plain(line)
            for name in _WORD.findall(text):
                if name in given or name not in self._names:
                    continue
                deep = line.depth + text.endswith("{")  # what a loop declares ends with it
                scopes += [set() for _ in range(deep + 1 - len(scopes))]
                wanted, number = self._names[name], 1
                while any(wanted in scope for scope in scopes):
                    wanted, number = f"{self._names[name]}_{number}", number + 1
                given[name] = wanted
                scopes[deep].add(wanted)
            texts.append(_WORD.sub(lambda match: given.get(match[0], match[0]), text))
        return texts


def broken(indent: str, line: str) -> list[str]:
    """The line, in pieces if it is too long."""
    found: list[str] = []
    while len(indent) + len(line) > LONGEST and (at := _break(line, LONGEST - len(indent))) > 0:
        found.append(indent + line[:at])
        line = "    " + line[at + 1 :]
    return [*found, indent + line]


def _break(line: str, width: int) -> int:
    """Where to break a line that is too long: after a comma if there is one."""
    return max(line.rfind(", ", 40, width) + 1, 0) or line.rfind(" ", 40, width)


def _plain(line: _Line) -> str:
    return f"const {line.type} {line.name} = {line.text};" if line.name else line.text


def _pruned(lines: list[_Line]) -> list[_Line]:
    needed: set[str] = set()
    kept: list[_Line] = []
    for line in reversed(lines):
        if line.kind == "effect" or line.name in needed:
            if not line.text.startswith("//"):
                needed.update(_WORD.findall(line.text))
            kept.append(line)
    return kept[::-1]


def _inline(lines: list[_Line]) -> None:
    """Move what is used once into the line that uses it."""
    uses: dict[str, list[_Line]] = {}  # a line as often as it mentions the name
    for line in lines:
        for word in _WORD.findall(line.text) if not line.text.startswith("//") else ():
            uses.setdefault(word, []).append(line)
    for line in [x for x in lines if x.kind == "pure"]:
        users = uses.get(line.name, [])
        if len(users) != 1 or users[0].block != line.block or users[0].text.startswith(("for", "if", "while")):
            continue
        user = users[0]
        joined = substituted(user.text, line.name, line.text, line.binds)
        if len(joined) + len(user.name) + len(user.type) + 2 * user.depth + 10 > WIDEST:
            continue
        user.text = joined
        for word in _WORD.findall(line.text):
            uses[word] = [user if x is line else x for x in uses[word]]
        lines.remove(line)


def substituted(text: str, name: str, value: str, binds: int) -> str:
    """An expression with a name replaced by what it stands for, in brackets where these are needed."""
    match = re.search(rf"(?<![\w.]){name}\b", text)
    if match is None:
        return text
    before, after = text[: match.start()], text[match.end() :]
    if not _fits(before, after, binds):
        value = f"({value})"
    return before + value + after


def _fits(before: str, after: str, binds: int) -> bool:
    """May an expression that binds so tightly stand here without brackets?"""
    if binds == ATOM:
        return True
    if after[:1] in ("[", ".") or before[-1:] in ("!", "-", "~", "*", "&"):
        return False
    left, right = _BEFORE.search(before), _AFTER.match(after)
    left_binds = _OPERATORS.get(left[1]) if left else None
    right_binds = _OPERATORS.get(right[1]) if right else None
    return (left_binds is None or binds < left_binds) and (right_binds is None or binds <= right_binds < CHOICE)
