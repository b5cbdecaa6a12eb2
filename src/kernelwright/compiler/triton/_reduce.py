"""Reductions of a tile: what accumulates lane by lane, and what folds the lanes into one value per row."""

from __future__ import annotations

from collections.abc import Sequence

from ..contraction import product
from ..cpp._reduce import acc_dtype, state_dtype
from ..program import Axis, Const, Index, Reduce
from ._kernel import Kernel
from ._operators import literal_text, storage_type
from ._printer import Dims, Printer, Value_

_NARROW = ("bool", "int8", "uint8", "int16")
LAST = 2147483647  # the place of nothing


def held_dtype(reduce: Reduce) -> str:
    """The dtype in which a reduction is kept: no narrower than Triton folds."""
    if reduce.op in ("any", "all"):
        return "int32"
    dtype = state_dtype(reduce)
    return "int32" if dtype in _NARROW else dtype


def identity(reduce: Reduce) -> Const:
    """What changes nothing."""
    op, dtype = reduce.op.removeprefix("arg"), held_dtype(reduce)
    if op in ("sum", "prod", "any", "all"):
        return Const({"sum": 0, "any": 0}.get(op, 1), dtype)
    if dtype.startswith("float"):
        return Const(float("-inf") if op == "max" else float("inf"), dtype)
    bits = 64 if dtype == "int64" else 32
    return Const(-(2 ** (bits - 1)) if op == "max" else 2 ** (bits - 1) - 1, dtype)


def operand(printer: Printer, reduce: Reduce) -> Value_:
    """The values to be reduced, in the dtype in which they are kept."""
    value = printer.value(reduce.value)
    if reduce.op in ("any", "all"):
        value = printer.converted(value, "bool")
    return printer.converted(value, held_dtype(reduce))


def masked(printer: Printer, reduce: Reduce, value: Value_, dim: str) -> Value_:
    """The values with the identity where the row has no points."""
    mask = printer.masks.get(dim)
    if mask is None:
        return value
    text = f"tl.where({mask}, {value.name}, {literal_text(identity(reduce))})"
    value = printer.tensor(value) if value.literal is not None else value
    return printer.define(("masked", mask, value.name, identity(reduce)), text, value.dtype, value.dims | {dim})


def filled(kernel: Kernel, printer: Printer, value: Value_, dim: str) -> Value_:
    """The values as a tile that has the dimension to be reduced, even if all are equal along it."""
    if dim in value.dims:
        return value
    value = printer.tensor(value)
    text = f"tl.broadcast_to({value.name}, {kernel.shape()})"
    return printer.define(("filled", value.name), text, value.dtype, frozenset(kernel.dims))


def place(printer: Printer, raxes: Sequence[Axis]) -> tuple[str, Dims]:
    """The row-major position of a point among the reduced axes."""
    index = Index.const(0)
    for position, axis in enumerate(raxes):
        index = index + Index.axis(axis.name) * product([a.size for a in raxes[position + 1 :]])
    text, dims = printer.index(index)
    return (f"tl.cast({text}, tl.int32)" if not text.isidentifier() or not dims else text), dims


class Folding:
    """Folds a tile along a dimension."""

    def __init__(self, kernel: Kernel, printer: Printer, dim: str) -> None:
        self.kernel, self.printer = kernel, printer
        self.axis = kernel.dims.index(dim)
        self.keep = len(kernel.dims) > 1
        self.dims = frozenset(d for d in kernel.dims if d != dim)

    def fold(self, reduce: Reduce, value: str, key: object) -> Value_:
        """The reduced value, kept as a column of the tile."""
        printer, op, dtype = self.printer, reduce.op, held_dtype(reduce)
        keep = ", keep_dims=True" if self.keep else ""
        floating = dtype.startswith("float")
        if op in ("max", "min") and floating:
            helper = "largest" if op == "max" else "smallest"
            printer.helpers.add(helper)
            text = f"{helper}({value}, {self.axis}, {self.keep})"
        elif op == "prod":
            printer.helpers.add("multiply")
            text = f"tl.reduce({value}, {self.axis}, multiply{keep})"
        else:
            name = {"any": "max", "all": "min"}.get(op, op)
            text = f"tl.{name}({value}, {self.axis}{keep})"
        return printer.define(("fold", op, key, value), text, dtype, self.dims)

    def first(self, reduce: Reduce, value: str, at: str, key: object) -> Value_:
        """The place of the best value."""
        best = self.fold(Reduce((), (), reduce.op.removeprefix("arg"), reduce.value, reduce.store, reduce.epilogue),
                         value, key)  # fmt: skip
        self.printer.helpers.add("first_place")
        text = f"first_place({value}, {best.name}, {at}, {self.axis}, {self.keep})"
        return self.printer.define(("first", key, value), text, "int32", self.dims)


def result(printer: Printer, reduce: Reduce, value: Value_) -> Value_:
    """What the epilogue sees, and what it makes of it."""
    if reduce.op in ("any", "all"):
        value = printer.converted(value, "bool")
    value = printer.converted(value, acc_dtype(reduce))
    return printer.finished(reduce.epilogue, value, wanted_name(printer, reduce.store.tensor))


def wanted_name(printer: Printer, tensor: str) -> str:
    """Values are called as the tensor they end in."""
    return printer.program.tensors[tensor].alias or tensor


class Accumulator:
    """A reduction over the turns of a loop: ``acc`` (and ``at``, the place of the best one) in variables."""

    def __init__(self, kernel: Kernel, reduce: Reduce, shape: str) -> None:
        self.kernel, self.reduce = kernel, reduce
        body = kernel.body
        self.acc = body.name(f"{wanted_name(kernel.printer, reduce.store.tensor)}_acc")
        self.at = body.name(f"{self.acc}_at") if reduce.op.startswith("arg") else ""
        start, kind = literal_text(identity(reduce)), storage_type(held_dtype(reduce))
        body.effect(f"{self.acc} = tl.full({shape}, {start}, {kind})")
        if self.at:
            body.effect(f"{self.at} = tl.full({shape}, {LAST}, tl.int32)")

    def add(self, printer: Printer, dim: str | None) -> None:
        """One turn of the loop; along ``dim`` the tile may reach beyond the row."""
        reduce, body = self.reduce, self.kernel.body
        value = operand(printer, reduce)
        if self.at:
            self._better(printer, value, printer.masks.get(dim) if dim else None)
            return
        if dim:
            value = masked(printer, reduce, value, dim)
        if reduce.op in ("sum", "prod"):
            body.effect(f"{self.acc} {'+' if reduce.op == 'sum' else '*'}= {value.name}")
            return
        body.effect(f"{self.acc} = {combined(printer, reduce.op, held_dtype(reduce), self.acc, value.name)}")

    def _better(self, printer: Printer, value: Value_, mask: str | None) -> None:
        sign = ">" if self.reduce.op == "argmax" else "<"
        v, acc, at = printer.tensor(value).name, self.acc, self.at
        text = f"({v} {sign} {acc}) | ({at} == {LAST})"
        if held_dtype(self.reduce).startswith("float"):
            text += f" | (({v} != {v}) & ({acc} == {acc}))"
        text = f"{mask} & ({text})" if mask else text
        better = self.kernel.body.name("better")
        where, _ = place(printer, self.reduce.raxes)
        self.kernel.body.effect(f"{better} = {text}")
        self.kernel.body.effect(f"{at} = tl.where({better}, {where}, {at})")
        self.kernel.body.effect(f"{acc} = tl.where({better}, {v}, {acc})")

    def total(self, printer: Printer, dim: str | None) -> Value_:
        """The finished accumulator."""
        name, dtype = (self.at, "int32") if self.at else (self.acc, held_dtype(self.reduce))
        if dim is None:
            return Value_(name, dtype, frozenset(self.kernel.dims))
        folding = Folding(self.kernel, printer, dim)
        if self.at:
            return folding.first(self.reduce, self.acc, self.at, self.acc)
        return folding.fold(self.reduce, self.acc, self.acc)


def combined(printer: Printer, op: str, dtype: str, a: str, b: str) -> str:
    """Two values of a reduction as one."""
    if op in ("sum", "prod"):
        return f"{a} {'+' if op == 'sum' else '*'} {b}"
    name = {"max": "maximum", "any": "maximum", "min": "minimum", "all": "minimum"}.get(op, "log_add_exp")
    if dtype.startswith("float"):
        printer.helpers.add(name)
        return f"{name}({a}, {b})"
    return f"tl.{name}({a}, {b})"
