"""A plan printed as straight Python code, for a file that a person reads and that runs without us.

A plan may come from a stranger: whatever of it becomes text is a name, a number, or arithmetic on sizes.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
from collections.abc import Sequence
from typing import Any

from ..errors import ExportImpossible
from .plan import WORKSPACE, AtenCall, EntryCall, InputSpec, Plan, SizeText, TensorSpec

_OPERATOR = re.compile(r"aten\.\w+\.\w+")
_PATH = re.compile(r"\w+(\.\w+)*")
_FUNCTIONS = ("Max", "max", "min")
_ARITHMETIC = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.Mod),
    *(ast.FloorDiv, ast.Div, ast.Pow, ast.USub, ast.UAdd),
)


def identifier(name: object, what: str) -> str:
    """The name, if it is one that Python has no other use for; raises ``ExportImpossible``."""
    if isinstance(name, str) and name.isidentifier() and name.isascii() and not keyword.iskeyword(name):
        return name
    raise ExportImpossible(f"The {what} {name!r} is no name that a Python file can use.")


class Straight:
    """Prints ``def _kernel(module, args)`` for a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.sizes = {identifier(symbol.name, "size") for symbol in plan.symbols}
        self.names: dict[str, str] = {WORKSPACE: "scratch"}
        self.lines: list[str] = []

    def text(self) -> str:
        """The function, and the tensors that it needs besides its arguments."""
        self._inputs()
        if self.plan.workspace:
            need = self._size(self.plan.workspace)
            self.lines.append("scratch = _IDLE.pop() if _IDLE else _torch.empty(0, dtype=_torch.uint8)")
            self.lines.append(f"if scratch.numel() < {need}:")
            self.lines.append(f"    scratch = _torch.empty({need}, dtype=_torch.uint8)")
        self._steps()
        if self.plan.workspace:
            self.lines.append("_IDLE.append(scratch)")
        for source, target in self.plan.mutations:
            self.lines.append(f"{_attribute(target)}.detach().copy_({self._name(source)})")
        self._results()
        literals = [
            f"_{self._name(t.name)} = _literal({t.data!r}, {tuple(map(int, t.shape))!r}, {_dtype(t.dtype)})\n"
            for t in self.plan.literals
        ]
        body = "\n".join(f"    {line}" for line in self.lines)
        return "".join(literals) + f"\ndef _kernel(module, args, Max=max, math=_math):\n{body}\n\n"

    def _inputs(self) -> None:
        given = [spec for spec in self.plan.inputs if spec.source[0] == "arg"]
        constants = repr(tuple((int(place), _plain(value)) for place, value in self.plan.constants))
        self.lines.append(f"tensors = _tensors(args, {len(given)}, {constants})")
        for symbol in self.plan.symbols:
            where = self.plan.inputs[symbol.input].source
            if where[0] != "arg":
                raise ExportImpossible(f"The size {symbol.name} is bound by a parameter, which no file can follow.")
            bounds = f"{int(symbol.dim)}, {int(symbol.lo)}, {int(symbol.hi)}"
            self.lines.append(f"{symbol.name} = _size(tensors[{int(where[1])}], {bounds})")
        for spec in self.plan.inputs:
            self.lines.append(f"{self._name(spec.spec.name)} = {self._input(spec)}")

    def _input(self, spec: InputSpec) -> str:
        kind, what = spec.source
        if kind == "literal":
            return f"_{self._name(str(what))}"
        tensor = f"tensors[{int(what)}]" if kind == "arg" else _attribute(str(what))
        return f"_as_made_for({tensor}, {self._form(spec.spec)})"

    def _steps(self) -> None:
        buffers = {spec.name: spec for spec in self.plan.buffers}
        made: set[str] = set()
        for step in self.plan.steps:
            touched = step.args if isinstance(step, EntryCall) else _tensors_of([step.args, step.kwargs])
            for name in (str(n) for n in touched):
                if name in buffers and name not in made:
                    made.add(name)
                    shape, strides, dtype = self._parts(buffers[name])
                    self.lines.append(f"{self._name(name)} = _torch.empty_strided({shape}, {strides}, dtype={dtype})")
            if isinstance(step, EntryCall):
                entry = identifier(step.entry, "entry")
                self.lines.append(f"_call({', '.join([repr(entry), *map(self._name, step.args)])})")
            else:
                self._aten(step)

    def _aten(self, step: AtenCall) -> None:
        if not _OPERATOR.fullmatch(step.op):
            raise ExportImpossible(f"The plan calls {step.op!r}, which is no operator of ATen.")
        values = [self._value(value) for value in step.args]
        values += [f"{identifier(key, 'keyword')}={self._value(value)}" for key, value in step.kwargs]
        outputs = [self._name(name) if name else "_" for name in step.outputs]
        self.lines.append(f"[{', '.join(outputs)}] = _many(_torch.ops.{step.op}({', '.join(values)}))")

    def _results(self) -> None:
        results = [repr(_plain(r["value"])) if isinstance(r, dict) else self._name(str(r)) for r in self.plan.results]
        if self.plan.treespec is None:
            self.lines.append(f"return {results[0]}")
            return
        spec = f"_pytree.treespec_loads({self.plan.treespec!r})"
        self.lines.append(f"return _pytree.tree_unflatten([{', '.join(results)}], {spec})")

    def _value(self, value: Any) -> str:
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._value(item) for item in value)}]"
        if not isinstance(value, dict):
            return repr(_plain(value)) if not _unbounded(value) else f"float({str(value)!r})"
        if "shape" in value:
            shape, strides = self._tuple(value["shape"]), self._tuple(value["strides"])
            return f"{self._name(value['tensor'])}.as_strided({shape}, {strides})"
        if "tensor" in value:
            return self._name(value["tensor"])
        if "size" in value:
            return self._size(value["size"])
        return _dtype(str(value.get("dtype") or value["memory_format"]))

    def _form(self, spec: TensorSpec) -> str:
        return ", ".join(self._parts(spec))

    def _parts(self, spec: TensorSpec) -> tuple[str, str, str]:
        return self._tuple(spec.shape), self._tuple(spec.strides), _dtype(spec.dtype)

    def _tuple(self, sizes: Sequence[SizeText]) -> str:
        return f"({''.join(f'{self._size(size)}, ' for size in sizes).rstrip() if sizes else ''})"

    def _size(self, size: SizeText) -> str:
        if isinstance(size, int):
            return str(int(size))
        tree = ast.parse(size, mode="eval")
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if id(node) in called:
                good = isinstance(node, ast.Name) and node.id in _FUNCTIONS
            elif isinstance(node, ast.Name):
                good = node.id in self.sizes
            elif isinstance(node, ast.Call):
                good = not node.keywords
            else:
                good = isinstance(node, _ARITHMETIC) and type(getattr(node, "value", 0)) in (int, ast.Name)
            if not good:
                raise ExportImpossible(f"The size {size!r} is no arithmetic on the plan's sizes.")
        return f"({ast.unparse(tree)})"

    def _name(self, tensor: str) -> str:
        """One name of the plan's as one of the file's: letters and digits behind a prefix nothing else has."""
        return self.names.setdefault(tensor, f"t{len(self.names) - 1}")


def _attribute(path: str) -> str:
    """A parameter or buffer by its qualified name."""
    if not _PATH.fullmatch(path):
        raise ExportImpossible(f"The parameter {path!r} has no name that a Python file can use.")
    *holders, leaf = path.split(".")
    return "module" + "".join(f"._modules[{name!r}]" for name in holders) + f".{identifier(leaf, 'parameter')}"


def _dtype(name: str) -> str:
    return f"_torch.{identifier(name, 'dtype')}"


def _plain(value: object) -> object:
    """A value whose ``repr`` is Python text for it."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ExportImpossible(f"The plan holds {value!r}, which cannot be written into a Python file.")


def _unbounded(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _tensors_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["tensor"]] if "tensor" in value else []
    return [name for item in value for name in _tensors_of(item)] if isinstance(value, list | tuple) else []
