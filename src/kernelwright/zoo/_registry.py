"""Which systems there are: every public module of a field's folder that holds a ``SYSTEM``; and what was measured."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import pkgutil
from pathlib import Path
from typing import Any

from ..errors import ZooInvalid
from ._system import Measured, System

_ROOT = Path(__file__).parent
_NO_FIELDS = ("common",)
_EXTRA = {"matplotlib": "matplotlib", "scipy": "scipy", "sklearn": "scikit-learn"}
_FIGURES = _ROOT / "figures.json"  # written by benchmarks/zoo/record.py from all results


def fields() -> tuple[str, ...]:
    """The folders of systems, in alphabetical order."""
    found = (m.name for m in pkgutil.iter_modules([str(_ROOT)]) if m.ispkg)
    return tuple(sorted(name for name in found if name not in _NO_FIELDS))


def systems() -> dict[str, System]:
    """All systems by name. Importing them imports torch and scikit-learn, not what only their examples need.

    Raises :class:`ZooInvalid` where what the extra ``kernelwright[zoo]`` brings is not installed.
    """
    for module, package in _EXTRA.items():
        if importlib.util.find_spec(module) is None:
            raise ZooInvalid(f"The zoo needs {package}, which is not installed: pip install 'kernelwright[zoo]'.")
    found = {}
    for field in fields():
        for info in pkgutil.iter_modules([str(_ROOT / field)]):
            if not info.name.startswith("_"):
                system = importlib.import_module(f"{__package__}.{field}.{info.name}").SYSTEM
                found[system.name] = system
    return found


def system(name: str) -> System:
    """The system of that name. Raises :class:`ZooInvalid`.

    >>> system("ntk").source
    'arXiv 1806.07572'
    """
    known = systems()
    if name not in known:
        raise ZooInvalid(f"There is no system {name!r} in the zoo; there are {', '.join(sorted(known))}.")
    return known[name]


def figures() -> dict[str, tuple[Measured, ...]]:
    """What the benchmark of each system measured, by name, from the results that this version was released with."""
    content = json.loads(_FIGURES.read_text(encoding="utf-8")) if _FIGURES.exists() else {}
    return {name: tuple(_measured(row) for row in rows) for name, rows in content.items()}


def _measured(row: dict[str, Any]) -> Measured:
    """A value that is not finite lies as null in the file."""
    return Measured(**{**row, "value": math.nan if row["value"] is None else row["value"]})


__all__ = ["fields", "figures", "system", "systems"]
