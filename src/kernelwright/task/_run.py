"""Runs a task's own text: the module with its constants patched, its prints on stderr, its faults as sentences."""

from __future__ import annotations

import ast
import contextlib
import importlib
import linecache
import random
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from kernelwright.errors import KernelwrightError, SourceInvalid, TaskError
from kernelwright.task._patch import patch_tree
from kernelwright.task._task import Task


def run_module(task: Task) -> types.ModuleType:
    """Execute the task's module afresh (a file) or import it (``package.module``). Raises :class:`SourceInvalid`."""
    if task.module:
        with user_code(SourceInvalid, f"module {task.module}"):
            return importlib.import_module(task.module)
    filename = task.path or f"<{task.name}>"
    name = f"kernelwright_task_{task.digest[:12]}"
    module = types.ModuleType(name)
    module.__file__ = filename
    # inspect.getsource, torch.jit and tracebacks read the text from here, whatever happens to the file
    linecache.cache[filename] = (len(task.text), None, task.text.splitlines(True), filename)
    tree = patch_tree(ast.parse(task.text, filename=filename), task.patches)
    folder = str(Path(filename).parent)
    if task.path and folder not in sys.path:
        sys.path.append(folder)  # siblings that the file imports, now or inside forward
    sys.modules[name] = module
    with user_code(SourceInvalid, filename):
        exec(compile(tree, filename, "exec"), module.__dict__)
    return module


@contextlib.contextmanager
def user_code(fault: type[TaskError], what: str) -> Iterator[None]:
    """Run the user's code: stdout goes to stderr, an exception becomes ``fault`` with one sentence."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except KernelwrightError:
        raise
    except (Exception, SystemExit) as error:
        raise fault(f"{what} raised {describe_exception(error)}.") from error


def describe_exception(error: BaseException) -> str:
    """``ValueError in line 3: message`` on one line, the line being the innermost one of the user's own file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/torch/" not in f.filename and "kernelwright/task" not in f.filename]
    own = [f for f in own if not f.filename.endswith("contextlib.py")]
    where = f" in line {own[-1].lineno}" if own else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}{where}: {message[:300]}".rstrip(": .")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch, ``random`` and (if used) NumPy for the user's code; the caller's streams go on undisturbed."""
    numpy = sys.modules.get("numpy")
    python_state = random.getstate()
    numpy_state = numpy.random.get_state() if numpy else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        if numpy:
            numpy.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python_state)
            if numpy:
                numpy.random.set_state(numpy_state)


def call_user(function: Callable[..., Any], args: tuple[Any, ...], fault: type[TaskError], what: str) -> Any:
    """``function(*args)`` inside :func:`user_code`."""
    with user_code(fault, what):
        return function(*args)
