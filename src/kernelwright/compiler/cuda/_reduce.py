"""Reductions: what a thread accumulates over its points, and how the threads of a row put that together."""

from __future__ import annotations

from ..contraction import product
from ..cpp._reduce import acc_dtype
from ..group import root
from ..program import Const, Index, Reduce
from ..triton._reduce import held_dtype, identity
from ._kernel import Kernel
from ._operators import Text, literal_text, value_type
from ._printer import Known, Printer
from ._schedule import COLUMNS, WARP, Form
from ._text import EQUAL, PRODUCT, SUM

OPERATIONS = {
    "sum": "kw::Sum()", "prod": "kw::Product()", "max": "kw::Maximum()", "min": "kw::Minimum()",
    "any": "kw::Maximum()", "all": "kw::Minimum()", "argmax": "kw::Larger()", "argmin": "kw::Smaller()",
    "logsumexp": "kw::LogAddExp()",
}  # fmt: skip


class Accumulator:
    """A variable in which a thread gathers a reduction."""

    def __init__(self, kernel: Kernel, reduce: Reduce) -> None:
        self.kernel, self.reduce = kernel, reduce
        self.dtype = held_dtype(reduce)
        self.wanted = kernel.value_name(reduce.store.tensor)
        self.name = kernel.body.name(f"{root(kernel.part.program, reduce.store.tensor)}_acc")
        self.arg = reduce.op.startswith("arg")
        start = "{0, kw::NOWHERE}" if self.arg else literal_text(identity(reduce))
        kernel.body.effect(f"{self.type} {self.name} = {start};")

    @property
    def type(self) -> str:
        kind = value_type(self.dtype)
        return f"kw::Best<{kind}>" if self.arg else kind

    def add(self, printer: Printer) -> None:
        """One more point."""
        value = printer.value(self.reduce.value)
        if self.reduce.op in ("any", "all"):
            value = printer.converted(value, "bool")
        text = printer.converted(value, self.dtype).name
        if self.arg:
            place = printer.index(_place(self.reduce)).text
            better = f"{OPERATIONS[self.reduce.op]}({self.name}, {{{text}, {place}}})"
            self.kernel.body.effect(f"{self.name} = {better};")
        elif self.reduce.op in ("sum", "prod"):
            self.kernel.body.effect(f"{self.name} {'+' if self.reduce.op == 'sum' else '*'}= {text};")
        else:
            self.kernel.body.effect(f"{self.name} = {combined(self.reduce.op, self.name, text).text};")

    def total(self, printer: Printer, chosen: Form) -> Known:
        """The row's value, in every thread of the row; all threads of the block must come here."""
        name = self.name
        if chosen.lanes > 1:
            name = self.kernel.body.define(self.wanted, self.type, self._joined(chosen), kind="load")
        return Known(f"{name}.place", "int64") if self.arg else Known(name, self.dtype)

    def _joined(self, chosen: Form) -> str:
        operation = OPERATIONS[self.reduce.op]
        if chosen.columns:
            shared = self.kernel.scratch(self.type, COLUMNS * chosen.lanes)
            return f"kw::column_reduce<{COLUMNS}, {chosen.lanes}>({self.name}, {operation}, {shared})"
        if chosen.lanes <= WARP:
            return f"kw::warp_reduce<{chosen.lanes}>({self.name}, {operation})"
        shared = self.kernel.scratch(self.type, WARP)
        return f"kw::block_reduce<{chosen.lanes}>({self.name}, {operation}, {shared})"


def combined(op: str, a: str, b: str) -> Text:
    """Two values of a reduction as one."""
    if op in ("sum", "prod"):
        return Text(f"{a} + {b}", SUM) if op == "sum" else Text(f"{a} * {b}", PRODUCT)
    name = {"max": "maximum", "any": "maximum", "logsumexp": "log_add_exp"}.get(op, "minimum")
    return Text(f"kw::{name}({a}, {b})")


def finished(printer: Printer, reduce: Reduce, value: Known, wanted: str) -> Known:
    """What the epilogue sees, and what it makes of it."""
    if reduce.op in ("any", "all"):
        value = printer.define(("truth", value.name), Text(f"{value.name} != 0", EQUAL), "bool")
    return printer.finished(reduce.epilogue, printer.converted(value, acc_dtype(reduce)), wanted)


def alone(printer: Printer, reduce: Reduce) -> Known:
    """A reduction of a single point."""
    value = printer.value(reduce.value)
    if reduce.op.startswith("arg"):
        value = Known("0", "int64", Const(0, "int64"))
    elif reduce.op in ("any", "all"):
        value = printer.converted(value, "bool")
    return printer.finished(
        reduce.epilogue, printer.converted(value, acc_dtype(reduce)), root(printer.program, reduce.store.tensor)
    )


def _place(reduce: Reduce) -> Index:
    """The row-major position of a point among the reduced axes."""
    index = Index.const(0)
    for position, axis in enumerate(reduce.raxes):
        index = index + Index.axis(axis.name) * product([a.size for a in reduce.raxes[position + 1 :]])
    return index
