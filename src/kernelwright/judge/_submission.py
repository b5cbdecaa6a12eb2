"""Files that others hand in for judging, read into candidates; nothing of them is run here.

A source of ours, C++ or Triton, begins with its plan. Any other C or C++ source, or a shared object, has one entry
``main`` that takes the call's tensors, the parameters and buffers, and the outputs to be filled; its plan follows from
the task. A Python file holds ``class ModelNew``; one that we printed is judged by the kernel in it.
"""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

from ..errors import SubmissionInvalid
from ..targets import (
    CLASS,
    PLAN_MARK,
    PYTHON_PLAN_MARK,
    Candidate,
    Plan,
    Standalone,
    encode,
    plan_from_json,
    read_standalone,
)
from ..targets.cpu import plain
from ..task import Task
from ._interface import interface

PROPOSER = "submission"
_LANGUAGES = {".c": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++"}
_LARGEST = 64 << 20
SUFFIXES = (*_LANGUAGES, ".so", ".py", ".cu")


def read_submission(path: Path, task: Task) -> Candidate:
    """The candidate in a file. Raises ``SubmissionInvalid`` for a file that is none, ``TaskError`` for a bad task."""
    return with_plan(read_file(path, task), task)


def with_plan(candidate: Candidate, task: Task) -> Candidate:
    """A candidate that :func:`read_file` has read, with the plan of its one entry. Executes the task's own code."""
    if candidate.plan is None and candidate.target in ("cpu", "so", "cuda"):
        return replace(candidate, plan=interface(task))
    return candidate


def read_file(path: Path, task: Task) -> Candidate:
    """The candidate in a file as far as reading tells: no plan yet where that follows from running the task."""
    if path.suffix not in SUFFIXES:
        raise SubmissionInvalid(
            f"CANDIDATE is {str(path)!r}; it must be a C or C++ source ({', '.join(_LANGUAGES)}), "
            f"a shared object (.so), CUDA C++ with a launch table (.cu) or a Python file with class {CLASS} (.py)."
        )
    content = _read(path)
    if path.suffix == ".so":
        if not content.startswith(b"\x7fELF"):
            raise SubmissionInvalid(f"{path} is no shared object: it does not begin as an ELF file does.")
        return Candidate("so", PROPOSER, encode(content), None, label=path.name)
    text = _text(path, content)
    if path.suffix == ".cu":
        own_plan = _own_plan(path, text, PLAN_MARK) if text.startswith(PLAN_MARK) else None
        source = text if own_plan is None else text.partition("\n")[2]
        return Candidate("cuda", PROPOSER, source, own_plan, label=path.name)
    if path.suffix == ".py" and text.startswith(PYTHON_PLAN_MARK):
        source = text.partition("\n")[2]
        return Candidate("triton", PROPOSER, source, _own_plan(path, text, PYTHON_PLAN_MARK), label=path.name)
    if path.suffix == ".py":
        own = read_standalone(text)
        if own is not None and fits(own, task):
            return replace(own.candidate, proposer=PROPOSER, label=path.name)
        return Candidate("python", PROPOSER, text, None, label=path.name)
    if text.startswith(PLAN_MARK):
        source = text.partition("\n")[2]  # the very candidate that was written to the file, with its digest
        return Candidate("cpu", PROPOSER, source, _own_plan(path, text, PLAN_MARK), label=path.name)
    return Candidate("cpu", PROPOSER, plain(text, _LANGUAGES[path.suffix]), None, label=path.name)


def fits(file: Standalone, task: Task) -> bool:
    """Whether the kernel in a file of ours is all there is to judge: what else the file holds is the task's own."""
    own = not file.reference or (file.reference.strip() == task.text.strip() and file.base == task.attribute)
    return own and not file.arguments


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise SubmissionInvalid(f"{path} is larger than {_LARGEST >> 20} MiB; a candidate must be smaller.")
        content = path.read_bytes()
    except OSError as error:
        raise SubmissionInvalid(f"CANDIDATE is {str(path)!r}, which cannot be read: {error.strerror}.") from None
    if not content.strip():
        raise SubmissionInvalid(f"{path} is empty; it must hold a candidate.")
    return content


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SubmissionInvalid(f"{path} is not UTF-8 text (byte {error.start}); give a source file.") from None


def python_fault(text: str) -> str:
    """Why a Python text cannot be a candidate, as a sentence; "" where it may be one."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        what = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        return f"It is no Python source{where}: {what}."
    if not any(_binds(node, CLASS) for node in ast.walk(tree)):
        return f"It defines no class {CLASS}; a Python candidate is a torch.nn.Module of that name."
    return ""


def _binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.ClassDef):
        return node.name == name
    if isinstance(node, ast.alias):
        return (node.asname or node.name) in (name, "*")
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)


def _own_plan(path: Path, text: str, mark: str) -> Plan:
    line = text.partition("\n")[0].removeprefix(mark)
    try:
        return plan_from_json(json.dumps(json.loads(line)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SubmissionInvalid(
            f"The first line of {path} is no plan ({type(error).__name__}: {error}); "
            f"it must be {mark.strip()} and the JSON of one."
        ) from None
