"""Which parameter of somebody's function is which argument of the kernel: by its name and type, else by its place.

A prompt says "gemv" and nothing of a signature, so any that can be understood is right: in every order, with or without
strides and scale factors, with flat or nested arrays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

ANY = "any"


@dataclass(frozen=True)
class Parameter:
    """``base`` is int, real or any; ``rank`` counts nested arrays (0: a scalar; None: not known)."""

    name: str
    base: str = ANY
    rank: int | None = None
    optional: bool = False


@dataclass(frozen=True)
class Role:
    """An argument of a kernel. ``names`` is a regular expression for what people call it.

    ``place``: a parameter of no known name may be it, in the order of the kernel's roles.
    """

    name: str
    base: str
    ranks: tuple[int, ...]
    names: str
    place: bool = True

    def fits(self, parameter: Parameter) -> bool:
        """Whether a parameter's type allows it."""
        return parameter.base in (ANY, self.base) and (parameter.rank is None or parameter.rank in self.ranks)

    def called(self, parameter: Parameter) -> bool:
        """Whether a parameter has one of its names."""
        return re.fullmatch(self.names, _plain(parameter.name)) is not None


def bind(parameters: Sequence[Parameter], roles: Sequence[Role], needed: Set[str]) -> tuple[str, ...] | str:
    """The role of each parameter ("" for one that is left at its default), or why they cannot be told.

    Where nothing is known of a parameter, neither its name nor its type, it is one of those ``needed``.
    """
    found: dict[int, str] = {}
    for role in roles:
        for index, parameter in enumerate(parameters):
            if index not in found and role.fits(parameter) and role.called(parameter):
                found[index] = role.name
                break
    for index, parameter in enumerate(parameters):
        if index in found:
            continue
        free = [r for r in roles if r.place and r.name not in found.values() and r.fits(parameter)]
        left = [r for r in free if parameter.base != ANY or r.name in needed]
        if parameter.optional:
            found[index] = ""
            continue
        if not left:
            return f"it is not clear what its parameter {parameter.name!r} is for"
        found[index] = left[0].name
    return tuple(found[index] for index in range(len(parameters)))


def _plain(name: str) -> str:
    """Without case, underscores, and marks of host and device."""
    lowered = re.sub(r"^(h|d|host|dev|device|vec|in|p)_(?=\w)", "", name.lower())
    return lowered.replace("_", "").rstrip("0123456789") or lowered
