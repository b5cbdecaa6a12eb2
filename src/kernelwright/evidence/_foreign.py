"""Definitions and Solutions of the FlashInfer Trace schema as files that this program reads: a task, and a candidate.

Nothing of them is run here; what they hold is strangers' code. A candidate among them is judged like any submission.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TraceInvalid
from ..targets import CALLABLE, CLASS, one_file, read_standalone
from ._container import save
from ._trace import DTYPES

TASK = "task.py"
_FLOATS = ("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
_INTEGERS = 128  # random integers are drawn below this: the schema does not say how
_UNITS = (".c", ".cc", ".cpp", ".cxx")
_HEADERS = (".h", ".hpp", ".hh", ".cuh")

_Tensor = tuple[str, tuple[int, ...] | None, str]  # name, shape (None: a number), dtype

_ENTRY = """
extern "C" __attribute__((visibility("default"), alias("__tvm_ffi_{name}")))
int __tvm_ffi_main(void*, const void*, int, void*);
"""

_WRAPPER = '''

import torch as _torch

_entry = {function}


class {kind}(_torch.nn.Module):
    """Calls the solution's entry point."""

    def forward(self, {arguments}):
{body}
'''


@dataclass(frozen=True)
class Imported:
    """``task`` is the text of a task file, whose SOURCE is ``task.py:run``; ``candidate`` a submission's, if any."""

    task: str
    candidate: str = ""
    suffix: str = ""

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write them into a folder; returns what was written."""
        written = [folder / TASK]
        save(written[0], self.task.encode())
        if self.candidate:
            written.append(folder / f"candidate{self.suffix}")
            save(written[1], self.candidate.encode())
        return tuple(written)


@dataclass(frozen=True)
class _Definition:
    """What is needed of one, with every axis bound to a size."""

    name: str
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]
    reference: str

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.inputs)


def from_trace(files: Sequence[Path]) -> Imported:
    """A Definition, a Solution of it (if given) and a Workload or Trace (if the Definition needs one), in any order.

    Of a file with several workloads the first that fits is taken. Raises ``TraceInvalid``.
    """
    objects = [(path, content) for path in files for content in _read(path)]
    definitions = [content for _, content in objects if "reference" in content]
    solutions = [content for _, content in objects if "sources" in content]
    if len(definitions) != 1 or len(solutions) > 1:
        raise TraceInvalid(
            f"There are {len(definitions)} Definitions and {len(solutions)} Solutions; give one Definition, "
            "one Solution of it at most, and a Workload where sizes vary."
        )
    try:
        workload = _workload(definitions[0], objects)
        definition = _definition(definitions[0], workload)
        task = _task_text(definition, workload)
        if not solutions:
            return Imported(task)
        return _with_candidate(task, definition, solutions[0])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise TraceInvalid(f"What was given does not follow the FlashInfer Trace schema ({what}).") from None


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceInvalid(f"{path} cannot be read ({error}).") from None
    try:
        texts = [line for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else [text]
        found = [json.loads(one) for one in texts]
    except (ValueError, RecursionError) as error:
        raise TraceInvalid(f"{path} is no JSON: {error}.") from None
    if not all(isinstance(content, dict) for content in found):
        raise TraceInvalid(f"{path} holds no JSON objects; it must be a Definition, a Solution or a Trace.")
    return found


def _workload(definition: Mapping[str, Any], objects: Sequence[tuple[Path, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """The first workload of this definition; an empty one where none is given."""
    for _, content in objects:
        if "workload" in content and content.get("definition") == definition["name"]:
            return dict(content["workload"])
    return {"axes": {}, "inputs": {}}


def _definition(content: Mapping[str, Any], workload: Mapping[str, Any]) -> _Definition:
    name = str(content["name"])
    sizes: dict[str, int] = {}
    for axis, about in content["axes"].items():
        if about["type"] == "const":
            sizes[axis] = int(about["value"])
        elif axis in workload["axes"]:
            sizes[axis] = int(workload["axes"][axis])
        else:
            raise TraceInvalid(f"The axis {axis} of {name} varies: give a Workload that says how large it is.")

    def tensors(all_of: Mapping[str, Any]) -> tuple[_Tensor, ...]:
        return tuple(
            (_identifier(key), _shape(about, sizes, key), str(about["dtype"])) for key, about in all_of.items()
        )

    found = _Definition(name, tensors(content["inputs"]), tensors(content["outputs"]), str(content["reference"]))
    unknown = [dtype for _, _, dtype in (*found.inputs, *found.outputs) if dtype not in DTYPES]
    if unknown:
        raise TraceInvalid(f"{name} has a tensor of dtype {unknown[0]}, which torch has no values of.")
    return found


def _shape(about: Mapping[str, Any], sizes: Mapping[str, int], name: str) -> tuple[int, ...] | None:
    if about["shape"] is None:
        return None
    missing = [axis for axis in about["shape"] if axis not in sizes]
    if missing:
        raise TraceInvalid(f"The shape of {name} has the axis {missing[0]}, which the Definition does not define.")
    return tuple(sizes[axis] for axis in about["shape"])


def _task_text(definition: _Definition, workload: Mapping[str, Any]) -> str:
    """The reference as it is given, and a function that draws its inputs."""
    drawn = []
    for name, shape, dtype in definition.inputs:
        about = workload["inputs"].get(name, {"type": "random"})
        if about["type"] == "safetensors":
            raise TraceInvalid(f"The input {name} lies in a file of the data set, which is not read; use a random one.")
        if shape is None:
            if about["type"] != "scalar" or not isinstance(about["value"], bool | int | float):
                raise TraceInvalid(f"The input {name} is a number: give a Workload that says which.")
            drawn.append(repr(about["value"]))
        else:
            drawn.append(_draw(shape, dtype))
    lines = "".join(f"        {text},\n" for text in drawn)
    return (
        f"{definition.reference.rstrip()}\n\n\ndef {CALLABLE}_inputs():\n"
        f"    import torch\n\n    return [\n{lines}    ]\n"
    )  # fmt: skip


def _draw(shape: tuple[int, ...], dtype: str) -> str:
    if dtype in _FLOATS:
        return f"torch.randn({shape}).to(torch.{dtype})"
    if dtype == "bool":
        return f"torch.rand({shape}) < 0.5"
    return f"torch.randint(0, {_INTEGERS}, {shape}, dtype=torch.{dtype})"


# ── solutions ──


def _with_candidate(task: str, definition: _Definition, solution: Mapping[str, Any]) -> Imported:
    if solution["definition"] != definition.name:
        raise TraceInvalid(f"The Solution is one of {solution['definition']}, not of {definition.name}.")
    spec = solution["spec"]
    language = str(spec["language"])
    sources = {posixpath.normpath(str(one["path"])): str(one["content"]) for one in solution["sources"]}
    path, _, function = str(spec["entry_point"]).partition("::")
    path = posixpath.normpath(path)
    if path not in sources:
        raise TraceInvalid(f"The Solution's entry point is in {path}, which is none of its sources.")
    into = bool(spec.get("destination_passing_style", True))
    if language == "python":
        return _python(task, definition, sources, path, _identifier(function), into)
    if language == "cpp":
        return _cpp(task, definition, sources, path, _identifier(function), into, spec.get("binding") or "tvm-ffi")
    raise TraceInvalid(f"The Solution is written in {language}; what can be judged here is python and cpp.")


def _python(
    task: str, definition: _Definition, sources: Mapping[str, str], path: str, function: str, into: bool
) -> Imported:
    own = read_standalone(sources[path])
    asked = (definition.arguments, CALLABLE, False, "")
    ours = own is not None and (own.arguments, function, into, own.reference) == asked
    if own is not None and ours and len(sources) == 1:  # the kernel in it is all there is to judge
        return Imported(task, one_file(own.candidate), ".cpp")
    if len(sources) > 1:
        raise TraceInvalid(f"The Solution has {len(sources)} source files; a Python candidate is one.")
    names = ", ".join(definition.arguments)
    lines = [f"return _entry({names})"]
    if into:
        made = [_empty(name, shape, dtype) for name, shape, dtype in definition.outputs]
        out = ", ".join(name for name, _, _ in definition.outputs)
        lines = [*made, f"_entry({names}, {out})", f"return {out}"]
    body = "\n".join(f"        {line}" for line in lines)
    wrapper = _WRAPPER.format(function=function, kind=CLASS, arguments=names, body=body)
    return Imported(task, sources[path].rstrip("\n") + "\n" + wrapper, ".py")


def _empty(name: str, shape: tuple[int, ...] | None, dtype: str) -> str:
    if shape is None:
        raise TraceInvalid(f"The output {name} is a number, which cannot be passed to be filled.")
    return f"{name} = _torch.empty({shape}, dtype=_torch.{dtype})"


def _cpp(
    task: str, definition: _Definition, sources: Mapping[str, str], path: str, function: str, into: bool, binding: str
) -> Imported:
    if binding != "tvm-ffi" or not into:
        raise TraceInvalid(
            "A C++ Solution can be judged when its binding is tvm-ffi and it fills outputs passed to it."
        )
    if any(shape is None for _, shape, _ in definition.inputs):
        raise TraceInvalid("A C++ Solution that takes numbers cannot be judged: an entry takes tensors here.")
    others = [name for name in sources if name != path and not name.endswith(_HEADERS)]
    if others or not path.endswith(_UNITS):
        raise TraceInvalid(
            f"The Solution has the source {(others or [path])[0]}; a C++ candidate is one file and headers."
        )
    text = _with_headers(sources[path], posixpath.dirname(path), sources, set())
    return Imported(task, text.rstrip("\n") + "\n" + _ENTRY.format(name=function), ".cpp")


def _with_headers(text: str, folder: str, sources: Mapping[str, str], seen: set[str]) -> str:
    """The text with the solution's own headers in it, each once."""

    def replace_one(match: re.Match[str]) -> str:
        for place in (posixpath.normpath(posixpath.join(folder, match[1])), posixpath.normpath(match[1])):
            if place in sources:
                if place in seen:
                    return ""
                seen.add(place)
                content = re.sub(r"(?m)^\s*#\s*pragma\s+once\s*$", "", sources[place])
                return _with_headers(content, posixpath.dirname(place), sources, seen)
        return match[0]

    return re.sub(r'(?m)^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)".*$', replace_one, text)


def _identifier(name: object) -> str:
    if isinstance(name, str) and name.isidentifier() and name.isascii():
        return name
    raise TraceInvalid(f"{name!r} is no name of a tensor or function that Python and C++ can use.")
