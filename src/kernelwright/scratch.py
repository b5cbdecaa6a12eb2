"""Folders for work in progress, such as a compiler's: they go with whoever made them, even one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .paths import cache_dir

_swept: set[Path] = set()  # once in a process is enough


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder on the file system of the build cache, removed at the end; raises ``OSError``.

    It is locked as long as its maker lives. What a process that was killed has left behind is removed by the next one
    that makes its own.
    """
    home = _home()
    home.mkdir(parents=True, exist_ok=True)
    if home not in _swept:
        _swept.add(home)
        sweep()
    folder, handle = _make(home)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _make(home: Path) -> tuple[Path, int]:
    """A folder and the handle that locks it."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=home))
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # somebody who swept was faster than our lock
            continue
        if _locked(handle) and folder.exists():
            return folder, handle
        os.close(handle)


def sweep() -> None:
    """Remove the folders whose makers are gone."""
    with contextlib.suppress(OSError):
        for folder in _home().iterdir():
            _remove_if_left(folder)


def _home() -> Path:
    return cache_dir() / "build" / "scratch"


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            if _locked(handle):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


__all__ = ["scratch_folder", "sweep"]
