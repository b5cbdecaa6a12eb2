"""How a source is built, as data: so that it can be built again on another machine, or by a file of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...errors import CompilerMissing
from ...machine import find_compiler
from ._build import FLAGS, INCLUDE, command_flags, toolchain

# What a compiler may be told by a file from elsewhere: any other flag could make it run a program.
KNOWN_FLAGS = frozenset((*FLAGS, "-march=native", "-mcpu=native", "-fno-sanitize=undefined"))

_INCLUDED = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"](?:kw/)?(\w+\.h)[>"].*\n?', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[ \t]*\n", re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """``compiler`` is what it calls itself, ``flags`` what it was given, ``toolchain`` what the archive calls both."""

    compiler: str
    flags: tuple[str, ...]
    toolchain: str


def recipe(source: str) -> Recipe:
    """How this machine builds a source. Raises ``CompilerMissing``."""
    compiler = find_compiler()
    if compiler is None:
        raise CompilerMissing("No C++ compiler was found, so how a source is built here cannot be said.")
    return Recipe(compiler.identity, command_flags(source, compiler), toolchain())


def headers_of(source: str) -> dict[str, str]:
    """The headers of ours that a source includes, by name, those that they include among them."""
    found: dict[str, str] = {}
    _expand(source, _installed, found)
    return dict(sorted(found.items()))


def flatten(source: str, headers: Mapping[str, str] | None = None) -> str:
    """The source with our headers written out in it, each once: it needs no other file then.

    ``headers``: texts by name to take instead of those installed here. An include of none of ours stays as it is.
    """
    return _expand(source, _installed if headers is None else headers.get, {})


def _installed(name: str) -> str | None:
    path = INCLUDE / "kw" / name
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _expand(text: str, find: Callable[[str], str | None], seen: dict[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return ""
        content = find(name)
        if content is None:
            return match[0]
        seen[name] = content
        return _expand(_ONCE.sub("", content), find, seen).rstrip("\n") + "\n"

    return _INCLUDED.sub(replace, text)


__all__ = ["KNOWN_FLAGS", "Recipe", "flatten", "headers_of", "recipe"]
