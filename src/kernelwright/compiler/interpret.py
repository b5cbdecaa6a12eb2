"""An obviously correct evaluation of tensor programs: the oracle of the compiler's tests.

Every statement is evaluated over its whole index space at once: an axis is an ``arange`` along its own dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import sympy
import torch

from ..errors import InputsInvalid, Unsupported
from .program import (
    FLOATS,
    FUNCTIONS,
    Acc,
    Axis,
    Const,
    Expr,
    Extern,
    FloorDiv,
    Index,
    Iota,
    Load,
    Map,
    Mod,
    Program,
    Recur,
    Reduce,
    Scan,
    Size,
    Statement,
    Store,
    condition,
)

Grid = dict[str, torch.Tensor]


def interpret(
    program: Program, inputs: Mapping[str, torch.Tensor], dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    """Evaluate a program; returns its outputs by name. With ``dtype`` all floating point is done and kept in it."""
    return _Interpreter(program, inputs, dtype).run()


class _Interpreter:
    def __init__(self, program: Program, inputs: Mapping[str, torch.Tensor], dtype: torch.dtype | None) -> None:
        self.program = program
        self.override = dtype
        self.sizes = self._bind(inputs)
        self.steps: Grid = {}
        self.memory: dict[str, torch.Tensor] = {}
        for name in program.inputs:
            if name not in inputs:
                raise InputsInvalid(f"the program's input {name} is missing.")
            value = inputs[name].detach()
            self.memory[name] = self._put(value.to(self.dtype(program.tensors[name].dtype)), name)

    def _put(self, value: torch.Tensor, name: str) -> torch.Tensor:
        """Lay a value out with the strides the program states, so that aliases see the right memory."""
        tensor = self.program.tensors[name]
        shape, strides = self.shape(tensor.shape), self.shape(tensor.strides)
        if tuple(value.shape) != shape:
            raise InputsInvalid(f"the program's input {name} has shape {tuple(value.shape)}; it should be {shape}.")
        result = torch.empty_strided(shape, strides, dtype=value.dtype)
        if 0 in strides and value.numel():  # an expanded tensor cannot be written to
            storage = torch.zeros(1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)), dtype=value.dtype)
            storage[_positions(shape, strides).reshape(-1)] = value.reshape(-1)
            return storage.as_strided(shape, strides)
        return result.copy_(value)

    def _bind(self, inputs: Mapping[str, torch.Tensor]) -> dict[sympy.Symbol, int]:
        """Symbols by name, whatever assumptions their occurrences carry."""
        sizes: dict[str, int] = {}
        for symbol in self.program.symbols:
            size = inputs[symbol.tensor].shape[symbol.dim]
            if not symbol.lo <= size <= symbol.hi:
                raise InputsInvalid(
                    f"dimension {symbol.dim} of {symbol.tensor} is {size}; it should be in [{symbol.lo}, {symbol.hi}]."
                )
            sizes[symbol.name] = size
        self._named = sizes
        return {}

    def dtype(self, name: str) -> torch.dtype:
        return self.override if self.override and name in FLOATS else getattr(torch, name)

    def size(self, size: Size) -> int:
        if isinstance(size, int):
            return size
        return int(size.subs({s: self._named[str(s)] for s in size.free_symbols}))

    def shape(self, shape: tuple[Size, ...]) -> tuple[int, ...]:
        return tuple(self.size(s) for s in shape)

    def tensor(self, name: str) -> torch.Tensor:
        """The memory of a tensor, allocated at its first use (with garbage, to show reads before writes)."""
        if name not in self.memory:
            tensor = self.program.tensors[name]
            shape, strides = self.shape(tensor.shape), self.shape(tensor.strides)
            if tensor.alias:
                self.memory[name] = self.tensor(tensor.alias).as_strided(shape, strides)
            else:
                value = torch.empty_strided(shape, strides, dtype=self.dtype(tensor.dtype))
                self.memory[name] = value.fill_(float("nan")) if value.is_floating_point() else value.fill_(1)
        return self.memory[name]

    def run(self) -> dict[str, torch.Tensor]:
        for statement in self.program.statements:
            self._statement(statement)
        return {name: self.tensor(name) for name in self.program.outputs}

    # ── statements ──

    def _statement(self, statement: Statement) -> None:
        if condition(statement) and not bool(self.tensor(condition(statement)).any()):
            return
        if isinstance(statement, Extern):
            self._extern(statement)
        elif isinstance(statement, Map):
            grid, shape = self.grid(statement.axes)
            self._store(statement.store, self.expr(statement.value, grid), grid, shape)
        elif isinstance(statement, Reduce):
            self._reduce(statement)
        elif isinstance(statement, Recur):
            self._recur(statement)
        else:
            self._scan(statement)

    def grid(self, axes: tuple[Axis, ...]) -> tuple[Grid, tuple[int, ...]]:
        shape = self.shape(tuple(a.size for a in axes))
        grid = dict(self.steps)
        for k, axis in enumerate(axes):
            view = [1] * len(axes)
            view[k] = shape[k]
            grid[axis.name] = torch.arange(shape[k]).reshape(view)
        return grid, shape

    def _store(self, store: Store, value: torch.Tensor, grid: Grid, shape: tuple[int, ...]) -> None:
        target = self.tensor(store.tensor)
        places = [self.index(i, grid).expand(shape) for i in store.index]
        value = value.to(target.dtype).expand(shape)
        if places:
            target[tuple(places)] = value
        else:
            target.copy_(value)

    def _reduce(self, statement: Reduce) -> None:
        inner, full = self.grid(statement.axes + statement.raxes)
        value = self.expr(statement.value, inner).expand(full)
        value = value.reshape(*full[: len(statement.axes)], math.prod(full[len(statement.axes) :]))
        grid, shape = self.grid(statement.axes)
        acc = _REDUCE[statement.op](value)
        self._store(statement.store, self.expr(statement.epilogue, grid, acc), grid, shape)

    def _scan(self, statement: Scan) -> None:
        grid, shape = self.grid((*statement.axes, statement.scan))
        value = self.expr(statement.value, grid).expand(shape)
        value = value.flip(-1) if statement.reverse else value
        result = _SCAN[statement.op](value)
        if statement.exclusive:
            result = torch.cat(
                [torch.full_like(result[..., :1], _identity(statement.op, result.dtype)), result[..., :-1]], -1
            )
        self._store(statement.store, result.flip(-1) if statement.reverse else result, grid, shape)

    def _recur(self, statement: Recur) -> None:
        steps = range(self.size(statement.step.size))
        for step in reversed(steps) if statement.reverse else steps:
            self.steps = {statement.step.name: torch.tensor(step)}
            for part in statement.body:
                self._statement(part)
        self.steps = {}

    def _extern(self, statement: Extern) -> None:
        result = aten(statement.op)(
            *map(self._given, statement.args), **{k: self._given(v) for k, v in statement.kwargs}
        )
        for name, value in zip(
            statement.outputs, result if isinstance(result, tuple | list) else (result,), strict=False
        ):
            if name:
                self.tensor(name).copy_(value)

    def _given(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._given(v) for v in value]
        if not isinstance(value, dict):
            return value
        if "tensor" in value:
            return self.tensor(value["tensor"])
        if "dtype" in value:
            return self.dtype(value["dtype"])
        if "memory_format" in value:
            return getattr(torch, value["memory_format"])
        return self.size(sympy.sympify(value["size"]))

    # ── indices and expressions ──

    def index(self, index: Index, grid: Grid) -> torch.Tensor:
        total = torch.tensor(self.size(index.offset))
        for term, coefficient in index.terms:
            total = total + self._term(term, grid) * self.size(coefficient)
        return total

    def _term(self, term: Any, grid: Grid) -> torch.Tensor:
        if isinstance(term, str):
            return grid[term]
        if isinstance(term, FloorDiv):
            return torch.div(self.index(term.index, grid), self.size(term.divisor), rounding_mode="floor")
        if isinstance(term, Mod):
            return self.index(term.index, grid).remainder(self.size(term.modulus))
        return self.expr(term.expr, grid).to(torch.int64)

    def expr(self, node: Expr, grid: Grid, acc: torch.Tensor | None = None) -> torch.Tensor:
        if isinstance(node, Const):
            return torch.tensor(node.value, dtype=self.dtype(node.dtype))
        if isinstance(node, Load):
            return self._load(node, grid).to(self.dtype(node.dtype))
        if isinstance(node, Iota):
            return self.index(node.index, grid).to(self.dtype(node.dtype))
        if isinstance(node, Acc):
            if acc is None:
                raise Unsupported("an accumulator outside an epilogue.")
            return acc.to(self.dtype(node.dtype))
        args = [self.expr(a, grid, acc) for a in node.args]
        if node.name == "cast":
            return args[0].to(self.dtype(node.dtype))
        if node.name.startswith("round_to_"):
            half = self.dtype(node.name.removeprefix("round_to_"))
            return args[0].to(half).to(args[0].dtype)
        return _OPS[node.name](*args).to(self.dtype(node.dtype))

    def _load(self, node: Load, grid: Grid) -> torch.Tensor:
        memory = self.tensor(node.tensor)
        places = [self.index(i, grid) for i in node.index]
        if not places:
            return memory
        if node.fill is None:
            return memory[tuple(places)]
        inside = torch.tensor(True)
        for place, size in zip(places, memory.shape, strict=True):
            inside = inside & (place >= 0) & (place < size)
        if not memory.numel():
            return torch.full_like(inside, node.fill, dtype=memory.dtype)
        clamped = [p.clamp(0, max(size - 1, 0)) for p, size in zip(places, memory.shape, strict=True)]
        return torch.where(inside, memory[tuple(clamped)], torch.tensor(node.fill, dtype=memory.dtype))


def aten(name: str) -> Callable[..., Any]:
    """The operator of a name such as ``aten.lstm.input``."""
    found: Any = torch.ops
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _positions(shape: tuple[int, ...], strides: tuple[int, ...]) -> torch.Tensor:
    total = torch.zeros(shape, dtype=torch.int64)
    for k, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        view = [1] * len(shape)
        view[k] = size
        total = total + torch.arange(size).reshape(view) * stride
    return total


def _identity(op: str, dtype: torch.dtype) -> float | int:
    if op in ("sum", "prod"):
        return 0 if op == "sum" else 1
    if dtype.is_floating_point:
        return float("inf") if op == "min" else float("-inf")
    info = torch.iinfo(dtype)
    return info.max if op == "min" else info.min


def _sum(value: torch.Tensor) -> torch.Tensor:
    return value.sum(-1, dtype=value.dtype)


def _prod(value: torch.Tensor) -> torch.Tensor:
    return value.prod(-1, dtype=value.dtype)


_REDUCE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": _sum, "prod": _prod, "max": lambda v: v.amax(-1), "min": lambda v: v.amin(-1), "any": lambda v: v.any(-1),
    "all": lambda v: v.all(-1), "argmax": lambda v: v.argmax(-1), "argmin": lambda v: v.argmin(-1),
}  # fmt: skip

_SCAN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": lambda v: v.cumsum(-1, dtype=v.dtype), "prod": lambda v: v.cumprod(-1, dtype=v.dtype),
    "max": lambda v: v.cummax(-1).values, "min": lambda v: v.cummin(-1).values,
    "logsumexp": lambda v: v.logcumsumexp(-1),
}  # fmt: skip


def _same_name(name: str) -> Callable[..., torch.Tensor]:
    found: Callable[..., torch.Tensor] = getattr(torch, name)
    return found


_OPS: dict[str, Callable[..., torch.Tensor]] = {
    "div": torch.true_divide,
    "floordiv": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "truncdiv": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "mod": torch.remainder,
    "and": torch.logical_and, "or": torch.logical_or, "xor": torch.logical_xor, "not": torch.logical_not,
    "bitand": torch.bitwise_and, "bitor": torch.bitwise_or, "bitxor": torch.bitwise_xor, "bitnot": torch.bitwise_not,
    "shl": torch.bitwise_left_shift, "shr": torch.bitwise_right_shift,
}  # fmt: skip
_SAME = (
    "add", "sub", "mul", "fmod", "pow", "square", "minimum", "maximum", "fmin", "fmax", "atan2", "copysign", "floor",
    "ceil", "round", "trunc", "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "where",
)  # fmt: skip
for _name in (*FUNCTIONS, *_SAME):
    _OPS[_name] = _same_name(_name)
