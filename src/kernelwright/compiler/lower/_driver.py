"""The walk over a captured graph: each node becomes a lazy value, or an ATen call where there is no lowering."""

from __future__ import annotations

import inspect
import logging
import operator
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sympy
import torch
from torch import fx

from ...errors import Unsupported
from .._dataflow import HEAVY
from ..capture import Captured
from ..program import DTYPES, Expr, Extern, Index, Iota, Op, Program, Size, Symbol, Tensor, contiguous
from ._builder import Builder
from ._lazy import Indices, Lazy, compare, const, constant, expand, is_one, linear, numel, same_shape, where

log = logging.getLogger("kernelwright")

Handler = Callable[..., Any]

HANDLERS: dict[str, Handler] = {}

# Where a tensor lives and how it is allocated never changes what is computed.
_IGNORED = frozenset({"layout", "device", "pin_memory", "memory_format", "non_blocking", "dtype"})

# Constant tensors of at most so many elements need no memory.
_LITERAL = 16


def lowers(*names: str) -> Callable[[Handler], Handler]:
    """Register a lowering for ATen operations. It is called with the builder and the operation's named arguments.

    An argument that the function does not name must have its default value, else the operation stays an ATen call.
    """

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def size_of(value: object) -> Size:
    """An int or a sympy expression from what torch calls a size."""
    if isinstance(value, torch.SymInt):
        expr = value.node.expr
        return int(expr) if expr.is_Integer else expr
    if isinstance(value, sympy.Expr):
        return int(value) if value.is_Integer else value
    return int(value)  # type: ignore[call-overload]


def strides_of(value: torch.Tensor) -> tuple[Size, ...]:
    shape = tuple(size_of(s) for s in value.shape)
    return contiguous(shape) if value.is_contiguous() else tuple(size_of(s) for s in value.stride())


class Lowering(Builder):
    """A builder that also knows the graph node being lowered."""

    def __init__(self, captured: Captured, keep: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.captured = captured
        self.keep = keep
        self.env: dict[fx.Node, Any] = {}
        self.notes: list[str] = []
        self.reasons: dict[str, str] = {}  # why a node stayed an ATen call, for whoever debugs a lowering
        self.node: fx.Node = captured.outputs[0]

    # ── what the current node is to give ──

    @property
    def val(self) -> Any:
        return self.node.meta["val"]

    @property
    def shape(self) -> tuple[Size, ...]:
        return tuple(size_of(s) for s in self.val.shape)

    @property
    def dtype(self) -> str:
        return dtype_name(self.val.dtype)

    def val_of(self, position: int) -> tuple[tuple[Size, ...], str]:
        """Shape and dtype of one of several results."""
        value = self.val[position]
        return tuple(size_of(s) for s in value.shape), dtype_name(value.dtype)

    # ── values ──

    def lift(self, value: Any, dtype: str) -> Lazy:
        """A tensor as it is, a Python number as a constant."""
        if isinstance(value, Lazy):
            return value
        if isinstance(value, sympy.Expr):
            from ._lazy import size_value

            expr = size_value(value, dtype)
            return Lazy((), dtype, lambda _: expr, combine=lambda _: expr, free=True)
        return constant(value, dtype)

    def broadcast(self, value: Lazy, shape: tuple[Size, ...]) -> Lazy:
        """Expand; what is expensive is computed once, not once per repetition."""
        if same_shape(value.shape, shape):
            return value
        repeated = not same_shape(
            tuple(s for s in value.shape if not is_one(s)), tuple(s for s in shape if not is_one(s))
        )
        if repeated and not value.free and self.is_heavy(value):
            value = self.realise(value)
        return expand(value, shape)

    def is_heavy(self, value: Lazy) -> bool:
        expr = value.at(tuple(Index.axis(f"_{k}") for k in range(value.rank)))
        return any(isinstance(n, Op) and n.name in HEAVY for n in expr.walk())

    # ── the walk ──

    def run(self) -> Program:
        inputs = tuple(
            self._input(n, s) for n, s in zip(self.captured.placeholders, self.captured.sources, strict=True)
        )
        for node in self.captured.graph.nodes:
            if node.op == "call_function":
                self.node = node
                self.env[node] = self._settle(node, self._evaluate(node))
        outputs = self._outputs()
        return Program(
            tensors=dict(self.tensors),
            inputs=inputs,
            outputs=outputs,
            statements=tuple(self.statements),
            symbols=self._symbols(inputs),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _input(self, node: fx.Node, source: tuple[str, int | str]) -> str:
        kind, key = source
        name = f"arg{key}" if kind == "arg" else "p_" + re.sub(r"\W", "_", str(key))
        while name in self.tensors:
            name += "_"
        value = node.meta["val"]
        shape = tuple(size_of(s) for s in value.shape)
        self.tensors[name] = Tensor(name, shape, dtype_name(value.dtype), strides_of(value), "input")
        folded = self.captured.lifted.get(str(key)) if kind == "constant" else None
        self.env[node] = (_literal(folded) if folded is not None else None) or self.lazy(name)
        return name

    def _evaluate(self, node: fx.Node) -> Any:
        value = node.meta.get("val")
        if node.target is operator.getitem:
            return self.env[node.args[0]][node.args[1]]  # type: ignore[index]
        if isinstance(value, int | float | bool | torch.SymInt | torch.SymFloat | torch.SymBool):
            return size_of(value) if isinstance(value, int | torch.SymInt) else value
        if not isinstance(node.target, torch._ops.OpOverload) or "_assert" in str(node.target):
            if value is None:
                return None
            raise Unsupported(f"the graph calls {node.target}, which is not an ATen operation.")
        return self._lower_op(node)

    def _lower_op(self, node: fx.Node) -> Any:
        name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
        kept = name in self.keep or f"%{node.name}" in self.keep
        plain = all(_plain(given.meta.get("val"), result=False) for given in node.all_input_nodes)
        handler = HANDLERS.get(name) if plain and _plain(node.meta.get("val")) and not kept else None
        mark = self.mark()
        try:
            if handler is None:
                raise Unsupported(f"{name} has no lowering")
            return handler(self, **self._bind(node, handler))
        except Unsupported as reason:
            self.reasons[node.name] = str(reason)
        except Exception as fault:  # a fault of ours in one operation must not cost the others their kernels
            log.debug("Lowering %s failed:", name, exc_info=fault)
            self.reasons[node.name] = f"lowering {name} failed with {type(fault).__name__}: {fault}"
        self.rollback(mark)
        return self._call(node)

    def _bind(self, node: fx.Node, handler: Handler) -> dict[str, Any]:
        schema = node.target._schema.arguments  # type: ignore[union-attr]
        accepted, lenient = _parameters(handler)
        bound: dict[str, Any] = {}
        for position, argument in enumerate(schema):
            if position < len(node.args):
                given: Any = node.args[position]
            elif argument.name in node.kwargs:
                given = node.kwargs[argument.name]
            else:
                given = argument.default_value
            name = argument.name if argument.name != "from" else "from_"
            if name in accepted:
                bound[name] = self._value(given)
            elif not lenient and name not in _IGNORED and given != argument.default_value:
                raise Unsupported(f"{node.target} with {name}={given}")
        return bound

    def _value(self, given: Any) -> Any:
        if isinstance(given, fx.Node):
            return self.env[given]
        if isinstance(given, list | tuple):
            return [self._value(g) for g in given]
        return given

    def _settle(self, node: fx.Node, value: Any) -> Any:
        """Values that several consumers read are computed once."""
        if isinstance(value, Lazy) and len(node.users) > 1 and not value.free:
            return self.realise(value)
        return value

    # ── ATen calls ──

    def _call(self, node: fx.Node) -> Any:
        target = node.target
        assert isinstance(target, torch._ops.OpOverload)
        if target._schema.is_mutable:
            raise Unsupported(f"{target} writes to its arguments.")
        args = tuple(self._json(a) for a in node.args)
        kwargs = tuple(
            (k, self._json(v)) for k, v in node.kwargs.items() if k not in ("device", "layout", "pin_memory")
        )
        values = node.meta["val"]
        many = isinstance(values, tuple | list)
        results = [
            self._call_result(v) if isinstance(v, torch.Tensor) else None for v in (values if many else [values])
        ]
        names = tuple(self.name_of(r) or "" if r else "" for r in results)
        self.extern(Extern(str(target), args, kwargs, names))
        self.notes.append(str(target))
        return results if many else results[0]

    def _call_result(self, value: torch.Tensor) -> Lazy:
        shape = tuple(size_of(s) for s in value.shape)
        return self.tensor(shape, dtype_name(value.dtype), strides_of(value))

    def _json(self, given: Any) -> Any:
        if isinstance(given, fx.Node):
            value = self.env[given]
            if isinstance(value, Lazy):
                realised = self.realise(value)
                return {"tensor": self.name_of(realised)}
            return self._json(value)
        if isinstance(given, list | tuple):
            return [self._json(g) for g in given]
        if isinstance(given, torch.dtype):
            return {"dtype": dtype_name(given)}
        if isinstance(given, torch.memory_format):
            return {"memory_format": str(given).removeprefix("torch.")}
        if isinstance(given, sympy.Expr | torch.SymInt):
            size = size_of(given)
            return size if isinstance(size, int) else {"size": str(size)}
        if given is None or isinstance(given, bool | int | float | str):
            return given
        if isinstance(given, torch.device | torch.layout):
            return str(given)
        raise Unsupported(f"{self.node.target} takes {given!r}, which cannot be stored in a plan.")

    # ── outputs ──

    def _outputs(self) -> tuple[str, ...]:
        names = []
        for position, node in enumerate(self.captured.outputs):
            value, meta = self.env[node], node.meta["val"]
            shape, name = tuple(size_of(s) for s in meta.shape), f"out{position}"
            strides = strides_of(meta) if _dense(meta) else contiguous(shape)
            self.tensors[name] = Tensor(name, shape, dtype_name(meta.dtype), strides, "output")
            if value.dtype not in DTYPES:
                raise Unsupported(f"the reference returns a tensor of dtype {value.dtype}.")
            self.store(value, self.lazy(name))
            # Later outputs that are the same value read it from here.
            if not value.free:
                self.env[node] = self.lazy(name)
            names.append(name)
        return tuple(names)

    def _symbols(self, inputs: tuple[str, ...]) -> tuple[Symbol, ...]:
        found: dict[str, Symbol] = {}
        for name in inputs:
            for dim, size in enumerate(self.tensors[name].shape):
                if isinstance(size, sympy.Symbol) and str(size) not in found:
                    lo, hi = self.captured.bounds.get(str(size), (2, 2**40))
                    found[str(size)] = Symbol(str(size), name, dim, lo, hi)
        return tuple(found.values())


def _parameters(handler: Handler) -> tuple[frozenset[str], bool]:
    """The names a lowering takes, and whether it promises that the node's own shape says all the others do."""
    parameters = inspect.signature(handler).parameters
    return frozenset(parameters), any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _literal(tensor: torch.Tensor) -> Lazy | None:
    """A small constant tensor as an expression of its index."""
    if not 0 < tensor.numel() <= _LITERAL or dtype_name(tensor.dtype) not in DTYPES:
        return None
    dtype, shape = dtype_name(tensor.dtype), tuple(tensor.shape)
    values = tensor.reshape(-1).tolist()
    if all(v == values[0] for v in values):
        return constant(values[0], dtype, shape)

    def at(index: Indices) -> Expr:
        place = Iota(linear(index, shape), "int64")
        result: Expr = const(values[-1], dtype)
        for k in range(len(values) - 2, -1, -1):
            result = where(compare("eq", place, const(k, "int64")), const(values[k], dtype), result)
        return result

    return Lazy(shape, dtype, at, free=True)


def _plain(value: Any, *, result: bool = True) -> bool:
    """Whether every tensor is dense and of a dtype that programs know; a result is nothing but tensors."""
    if isinstance(value, list | tuple):
        return all(v is None or _plain(v, result=result) for v in value)
    if not isinstance(value, torch.Tensor):
        return not result
    return dtype_name(value.dtype) in DTYPES and value.layout == torch.strided


def _dense(value: torch.Tensor) -> bool:
    """Whether the strides are a permutation of row-major ones, so that an output can be allocated like this."""
    if value.is_contiguous():
        return True
    if any(not isinstance(s, int) for s in (*value.shape, *value.stride())):
        return False
    order = sorted((st, s) for s, st in zip(value.shape, value.stride(), strict=True) if s != 1)
    expected = 1
    for stride, size in order:
        if stride != expected:
            return False
        expected *= size
    return True


def lower(captured: Captured, keep: frozenset[str] = frozenset()) -> Program:
    """The tensor program of a captured graph. What has no lowering is an :class:`Extern` and named in ``notes``.

    ``keep`` names operations ("convolution_backward"), or nodes of the graph ("%convolution_3"), that are to stay ATen
    calls although they could be lowered.
    """
    return Lowering(captured, keep).run()


__all__ = ["HANDLERS", "Lowering", "dtype_name", "lower", "lowers", "numel", "replace", "size_of"]
