"""Finds the task files of a suite: a folder of ``<id>_<Name>.py`` files, or of ``level<N>`` folders of such files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kernelwright.errors import OptionInvalid, SuiteInvalid

_LEVEL = re.compile(r"level(\d+)$")
_NUMBER = re.compile(r"(\d+)_")


@dataclass(frozen=True)
class SuiteTask:
    """One task file; ``name`` is its path below the suite without suffix, ``number`` the id its name begins with."""

    name: str
    path: Path
    level: int | None
    number: int | None


def find_tasks(folder: Path, level: int | None = None, only: frozenset[int] | None = None) -> tuple[SuiteTask, ...]:
    """The tasks of a suite in the order of level and id; ``only`` keeps the ids in it.

    Raises :class:`SuiteInvalid` when there is no such folder, level or id.
    """
    if not folder.is_dir():
        raise SuiteInvalid(f"DIR is {str(folder)!r}, which is not a folder; give one that holds task files.")
    folders = _level_folders(folder)
    if level is not None:
        if level not in folders:
            found = ", ".join(f"level{n}" for n in sorted(folders)) or "no level folder"
            raise SuiteInvalid(f"--level is {level}, but {folder} holds {found}.")
        folders = {level: folders[level]}
    places = sorted(folders.items()) if folders else [(None, folder)]
    tasks = [task for number, place in places for task in _in_folder(place, number)]
    if not tasks:
        raise SuiteInvalid(f"DIR is {str(folder)!r}, which holds no task files such as 1_Name.py or level1/1_Name.py.")
    return tuple(_only(tasks, only))


def parse_only(text: str) -> frozenset[int]:
    """The ids of "1,3,10-12"; raises :class:`OptionInvalid`."""
    ids: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise OptionInvalid(f"--only is {text!r}; it must be task numbers and ranges such as 1,3,10-12.")
        ids.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(ids)


def _level_folders(folder: Path) -> dict[int, Path]:
    """The ``level<N>`` folders of a suite; a folder that is itself one counts."""
    own = _LEVEL.fullmatch(folder.resolve().name)
    if own:
        return {int(own[1]): folder}
    return {
        int(match[1]): child for child in folder.iterdir() if child.is_dir() and (match := _LEVEL.fullmatch(child.name))
    }


def _in_folder(folder: Path, level: int | None) -> list[SuiteTask]:
    """The task files directly inside a folder, by id and then by name."""
    prefix = f"level{level}/" if level is not None else ""
    tasks = []
    for path in folder.glob("*.py"):
        if path.name.startswith(("_", ".")) or path.name == "conftest.py":
            continue
        match = _NUMBER.match(path.name)
        tasks.append(SuiteTask(prefix + path.stem, path, level, int(match[1]) if match else None))
    return sorted(tasks, key=lambda t: (t.number is None, t.number or 0, t.name))


def _only(tasks: Iterable[SuiteTask], only: frozenset[int] | None) -> list[SuiteTask]:
    """The tasks whose id was asked for; every id must exist."""
    tasks = list(tasks)
    if only is None:
        return tasks
    missing = sorted(only - {t.number for t in tasks if t.number is not None})
    if missing:
        raise SuiteInvalid(f"--only names task {missing[0]}, which the suite does not hold.")
    return [t for t in tasks if t.number in only]
