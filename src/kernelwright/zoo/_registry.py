"""Which systems there are: every public module of a field's folder that holds a ``SYSTEM``."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from ..errors import ZooInvalid
from ._system import System

_ROOT = Path(__file__).parent
_NO_FIELDS = ("common",)


def fields() -> tuple[str, ...]:
    """The folders of systems, in alphabetical order."""
    found = (m.name for m in pkgutil.iter_modules([str(_ROOT)]) if m.ispkg)
    return tuple(sorted(name for name in found if name not in _NO_FIELDS))


def systems() -> dict[str, System]:
    """All systems by name. Importing them imports torch, not what only their examples need."""
    found = {}
    for field in fields():
        for info in pkgutil.iter_modules([str(_ROOT / field)]):
            if not info.name.startswith("_"):
                system = importlib.import_module(f"{__package__}.{field}.{info.name}").SYSTEM
                found[system.name] = system
    return found


def system(name: str) -> System:
    """The system of that name. Raises ``ZooInvalid``.

    >>> system("ntk").source
    'arXiv 1806.07572'
    """
    known = systems()
    if name not in known:
        raise ZooInvalid(f"There is no system {name!r} in the zoo; there are {', '.join(sorted(known))}.")
    return known[name]


__all__ = ["fields", "system", "systems"]
