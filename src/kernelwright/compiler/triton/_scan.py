"""Scans: of a row in registers, or tile by tile with a carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..program import Const, Index, Reduce, Scan
from ._kernel import Kernel
from ._operators import literal_text, storage_type
from ._printer import Mask, Printer, Value_
from ._reduce import Folding, combined, filled, held_dtype, identity, operand
from ._schedule import Form
from ._sizes import size_text

_COMBINE = {"max": "maximum", "min": "minimum", "logsumexp": "log_add_exp"}


def scan_tile(kernel: Kernel, printer: Printer, scan: Scan) -> Value_:
    """The scan of a row that is in registers."""
    return _scanned(kernel, printer, scan, _operand(kernel, printer, scan))


def scan_rows(kernel: Kernel, scan: Scan, chosen: Form, finish: Callable[[Printer, Value_], None]) -> None:
    """A scan of a row that is too long: tile by tile, from its end if it runs backwards."""
    body, reduce = kernel.body, _as_reduce(scan)
    column = "[" + ", ".join("XBLOCK" if d == "x" else "1" for d in kernel.dims) + "]"
    carry = body.name("carry")
    body.effect(f"{carry} = tl.full({column}, {_start(scan)}, {storage_type(held_dtype(reduce))})")
    count, start, variable = size_text(scan.scan.size), body.name("start"), body.name("r")
    body.open(f"for {start} in range(0, {count}, RBLOCK):")
    if scan.reverse:
        first = f"({count} - 1) // RBLOCK * RBLOCK"
        body.define(variable, f"{first} - {start} + {kernel.lanes('r', 'RBLOCK')}", tight=False)
    else:
        body.define(variable, f"{start} + {kernel.lanes('r', 'RBLOCK')}", tight=False)
    inner = kernel.printer.inner()
    inner.axes[scan.scan.name] = (variable, frozenset({"r"}))
    kernel.bound(inner, "r", variable, scan.scan.size, chosen.r)
    value = _operand(kernel, inner, scan)
    tile = _scanned(kernel, inner, scan, value)
    dtype = held_dtype(reduce)
    text = combined(inner, scan.op, dtype, carry, tile.name)
    whole = inner.define(("carried", tile.name), text, dtype, tile.dims, tight=False)
    finish(inner, whole)
    body.effect(f"{carry} = {combined(inner, scan.op, dtype, carry, _total(kernel, inner, scan, value))}")
    body.close()


def _as_reduce(scan: Scan) -> Reduce:
    """The reduction whose prefixes a scan leaves."""
    op = "max" if scan.op == "logsumexp" else scan.op
    return Reduce(scan.axes, (scan.scan,), op, scan.value, scan.store, Const(0, scan.value.dtype))


def _start(scan: Scan) -> str:
    return literal_text(identity(_as_reduce(scan)))


def _operand(kernel: Kernel, printer: Printer, scan: Scan) -> Value_:
    """What is scanned, the identity where there is nothing; an exclusive scan reads one step behind."""
    reduce = _as_reduce(scan)
    valid = printer.masks.get("r")
    if scan.exclusive:
        step = 1 if scan.reverse else -1
        where = Index.axis(scan.scan.name) + step
        text, dims = printer.index(where)
        inside = f"({text} < {size_text(scan.scan.size)})" if scan.reverse else f"({text} >= 0)"
        printer = printer.inner()
        printer.guard = (Mask(inside, dims),)
        printer.ranges = {n: r for n, r in printer.ranges.items() if n != scan.scan.name}
        reduce = replace(reduce, value=scan.value.substitute({scan.scan.name: where}))
        valid = f"{inside} & {valid}" if valid else inside
    value = filled(kernel, printer, operand(printer, reduce), "r")
    if valid is None:
        return value
    text = f"tl.where({valid}, {value.name}, {_start(scan)})"
    return printer.define(("scanned", valid, value.name), text, value.dtype, value.dims | {"r"})


def _scanned(kernel: Kernel, printer: Printer, scan: Scan, value: Value_) -> Value_:
    axis = kernel.dims.index("r")
    reverse = ", reverse=True" if scan.reverse else ""
    if scan.op in ("sum", "prod"):
        text = f"tl.cum{scan.op}({value.name}, {axis}{reverse})"
    else:
        name = _COMBINE[scan.op]
        if scan.op == "logsumexp" or value.dtype.startswith("float"):
            printer.helpers.add(name)
        else:
            name = f"tl.standard._elementwise_{scan.op}"
        text = f"tl.associative_scan({value.name}, {axis}, {name}{reverse})"
    return printer.define(("scan", scan.op, value.name), text, value.dtype, frozenset(kernel.dims))


def _total(kernel: Kernel, printer: Printer, scan: Scan, value: Value_) -> str:
    folding = Folding(kernel, printer, "r")
    if scan.op != "logsumexp":
        return folding.fold(_as_reduce(scan), value.name, value.name).name
    printer.helpers.add("log_add_exp")
    keep = ", keep_dims=True" if folding.keep else ""
    text = f"tl.reduce({value.name}, {folding.axis}, log_add_exp{keep})"
    return printer.define(("total", value.name), text, value.dtype, folding.dims).name
