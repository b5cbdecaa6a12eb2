"""A room imports only from rooms below it (docs/architecture.md): read off the source, lazy imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kernelwright

ROOT = Path(kernelwright.__file__).parent
PACKAGE = "kernelwright"

FLOORS = {
    "errors": 0,
    "paths": 0,
    "scratch": 0,
    "task": 1,
    "machine": 1,
    "targets": 2,
    "archive": 2,
    "judge": 3,
    "compiler": 4,
    "evidence": 4,
    "kernels": 4,
    "llm": 4,
    "search": 5,
    "backend": 6,
    "ops": 6,
    "nn": 6,
    "zoo": 7,
    "bench": 8,
    "report": 8,
    "cli": 9,
    "__main__": 10,
    "web": 9,
}

# Neighbours on one floor that may be asked, in this direction only.
NEIGHBOURS = {
    ("scratch", "paths"),  # where the cache lies
    ("task", "machine"),  # does the reference fit into this machine's memory?
    ("archive", "targets"),  # candidates and plans are what is stored
    ("evidence", "compiler"),  # what can be proven of a kernel's indices
    ("nn", "ops"),  # layers are made of operations
    ("bench", "report"),  # a run of a suite is drawn
}


def _modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imported(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every import of the package's own modules, relative ones resolved."""
    package = (PACKAGE, *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def _rooms_imported(source: str, path: Path) -> Iterator[tuple[int, str]]:
    for line, name in _imported(ast.parse(source), path):
        parts = name.split(".")
        if parts[0] == PACKAGE and len(parts) > 1 and parts[1] in FLOORS:
            yield line, parts[1]


def _faults(source: str, path: Path) -> list[str]:
    room = _room(path)
    return [
        f"{path.relative_to(ROOT)}:{line}: {room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"
        for line, other in _rooms_imported(source, path)
        if other != room and FLOORS[other] >= FLOORS[room] and (room, other) not in NEIGHBOURS
    ]


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_rooms_below(path: Path) -> None:
    assert _room(path) in FLOORS, f"{_room(path)} has no floor: give it one here and in docs/architecture.md"
    assert _faults(path.read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("from kernelwright.search import generate", "search"),
        ("import kernelwright.cli", "cli"),
        ("from kernelwright import judge", "judge"),
        ("from ..compiler import emit", "compiler"),
        ("from .. import compiler", "compiler"),
        ("def f():\n    from ..archive import Archive", "archive"),
    ],
)
def test_an_import_upwards_is_found(source: str, other: str) -> None:
    (fault,) = _faults(source, ROOT / "targets" / "_probe.py")
    assert f"imports {other}" in fault


@pytest.mark.parametrize(
    "source", ["from ..errors import BuildFailed", "from . import plan", "from ..task import Task", "import json"]
)
def test_an_import_downwards_is_fine(source: str) -> None:
    assert _faults(source, ROOT / "targets" / "_probe.py") == []
