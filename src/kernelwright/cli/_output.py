"""Where commands write: people's text to the terminal, documents to files that are checked before any work is done."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from kernelwright.errors import OutputUnwritable


def stdout() -> Console:
    """Results. Made anew each time, for a test or a pipe may have replaced the stream; a pipe gets whole lines."""
    return _console(stderr=False)


def stderr() -> Console:
    """Progress and complaints."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    wide = None if terminal or "COLUMNS" in os.environ else 140
    return Console(stderr=stderr, highlight=False, width=wide)


def say(sentence: str) -> None:
    """One sentence on standard error, never wrapped, so that other programs can read it."""
    print(sentence, file=sys.stderr)


def writable_file(path: Path | None, option: str) -> Path | None:
    """The path if a file can be written there; raises :class:`OutputUnwritable` before hours of work are lost."""
    if path is None:
        return None
    if path.is_dir():
        raise OutputUnwritable(f"{option} is {str(path)!r}, which is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise OutputUnwritable(f"{option} is {str(path)!r}, but the folder {str(path.parent)!r} does not exist.")
    existed = path.exists()
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise OutputUnwritable(f"{option} is {str(path)!r}, which cannot be written: {error.strerror}.") from error
    if not existed:
        path.unlink()
    return path


def writable_folder(path: Path | None, option: str) -> Path | None:
    """The folder, made if need be; raises :class:`OutputUnwritable`."""
    if path is None:
        return None
    probe = path / f".kernelwright-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OutputUnwritable(f"{option} is {str(path)!r}, which cannot be written: {error.strerror}.") from error
    return path


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave the old one as it was."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputUnwritable(f"{path} cannot be written: {error.strerror}.") from error


def write_document(path: Path | None, document: Mapping[str, Any]) -> None:
    """Write the one JSON shape, if a file was asked for."""
    if path is not None:
        from kernelwright.report import document_text

        write_text(path, document_text(document))


def write_json(path: Path, text: str) -> None:
    """Write JSON text indented, for readers of diffs."""
    write_text(path, json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n")
