"""The reference as a file for others needs it: which class or function it is, and what its arguments are called."""

from __future__ import annotations

import ast

from ..errors import ExportImpossible
from ..task import Task


def whole_text(task: Task) -> str:
    """The text of a task that is one file and means the same as it stands. Raises ``ExportImpossible``."""
    if not task.text:
        raise ExportImpossible(f"{task.name} was handed over in Python, so there is no text of its reference to write.")
    if task.shrunk or task.patches:
        raise ExportImpossible(
            f"The sizes of {task.name} were made smaller (--scale cpu), so its kernel does not fit the task as it is "
            "written; generate it with --scale official."
        )
    return task.text


def is_class(task: Task) -> bool:
    """Whether the reference is a class of the text; else it is a function."""
    return any(isinstance(node, ast.ClassDef) and node.name == task.attribute for node in ast.parse(task.text).body)


def argument_names(task: Task, count: int) -> tuple[str, ...]:
    """Names of the reference's ``count`` arguments, each a tensor or a number. Raises ``ExportImpossible``."""
    function = _function(task)
    arguments = function.args if function is not None else None
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)] if arguments is not None else []
    if is_class(task):
        names = names[1:]
    least = len(names) - len(arguments.defaults) if arguments is not None else 0
    if arguments is None or arguments.vararg is not None or not least <= count <= len(names):
        raise ExportImpossible(f"The arguments of {task.name} are no plain list of tensors and numbers.")
    return tuple(names[:count])


def _function(task: Task) -> ast.FunctionDef | None:
    body: list[ast.stmt] = ast.parse(task.text).body
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == task.attribute:
            body = [s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "forward"]
            return body[0] if body else None  # type: ignore[return-value]
    return next((n for n in body if isinstance(n, ast.FunctionDef) and n.name == task.attribute), None)
