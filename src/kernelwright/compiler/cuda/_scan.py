"""Scans: by a thread that has the row for itself, or by a block, a tile at a time, with a carry."""

from __future__ import annotations

from ..cpp._indices import size_text
from ..group import root
from ..program import Const, Reduce, Scan
from ..triton._reduce import held_dtype, identity
from ._kernel import Kernel
from ._operators import literal_text, value_type
from ._printer import Known, Printer
from ._reduce import OPERATIONS, combined
from ._schedule import WARP, Form
from ._text import SUM


def scan_thread(kernel: Kernel, chosen: Form, scan: Scan, local: tuple[str, ...]) -> None:
    """The scan of a row by one thread."""
    body, reduce = kernel.body, _as_reduce(scan)
    dtype = held_dtype(reduce)
    carry, place = body.name("carry"), body.name(scan.scan.name)
    body.effect(f"{value_type(dtype)} {carry} = {literal_text(identity(reduce))};")
    size, number = size_text(scan.scan.size), kernel.number
    if scan.reverse:
        body.open(f"for ({number} {place} = {size} - 1; {place} >= 0; --{place})")
    else:
        body.open(f"for ({number} {place} = 0; {place} < {size}; ++{place})")
    inner = kernel.printer.inner()
    inner.axes[scan.scan.name] = place
    value = inner.converted(inner.value(scan.value), dtype)
    if scan.exclusive:
        before = body.define("before", value_type(dtype), carry, kind="load")
        body.effect(f"{carry} = {combined(scan.op, carry, value.name).text};")
        _finish(inner, scan, Known(before, dtype), local)
    else:
        body.effect(f"{carry} = {combined(scan.op, carry, value.name).text};")
        _finish(inner, scan, Known(carry, dtype), local)
    body.close()


def scan_block(kernel: Kernel, chosen: Form, scan: Scan, local: tuple[str, ...]) -> None:
    """The scan of a row by a block: each tile of it by shuffles, from its end if it runs backwards."""
    body, reduce = kernel.body, _as_reduce(scan)
    dtype, size = held_dtype(reduce), size_text(scan.scan.size)
    kind, start_text = value_type(dtype), literal_text(identity(reduce))
    shared = kernel.scratch(kind, WARP)
    carry, start = body.name("carry"), body.name("start")
    operation, number = OPERATIONS[scan.op], kernel.number
    body.effect(f"{kind} {carry} = {start_text};")
    body.open(f"for ({number} {start} = 0; {start} < {size}; {start} += {chosen.lanes})")
    step, value = body.name("step"), body.name("value")
    body.effect(f"const {number} {step} = {start} + {number}(threadIdx.x);")
    body.effect(f"{kind} {value} = {start_text};")
    body.open(f"if ({step} > 0 && {step} < {size})" if scan.exclusive else f"if ({step} < {size})")
    inner = _at(kernel, scan, f"{step} - 1" if scan.exclusive else step, size)
    body.effect(f"{value} = {inner.converted(inner.value(scan.value), dtype).name};")
    body.close()
    scanned = body.name("scanned")
    body.effect(f"const {kind} {scanned} = kw::block_scan<{chosen.lanes}>({value}, {operation}, {shared});")
    body.open(f"if ({step} < {size})")
    inner = _at(kernel, scan, step, size)
    joined = combined(scan.op, carry, scanned)
    whole = body.define("whole", kind, joined.text, binds=joined.binds)
    _finish(inner, scan, Known(whole, dtype), local)
    body.close()
    body.effect(f"{carry} = {combined(scan.op, carry, f'{shared}[{chosen.lanes // WARP - 1}]').text};")
    body.close()


def _at(kernel: Kernel, scan: Scan, step: str, size: str) -> Printer:
    """A printer at a step of the scan."""
    inner = kernel.printer.inner()
    text = f"{size} - 1 - ({step})" if scan.reverse else step
    inner.axes[scan.scan.name] = (
        step if text.isidentifier() else kernel.body.define(scan.scan.name, kernel.number, text, binds=SUM)
    )
    return inner


def _as_reduce(scan: Scan) -> Reduce:
    """The reduction whose prefixes a scan leaves."""
    op = "max" if scan.op == "logsumexp" else scan.op
    return Reduce(scan.axes, (scan.scan,), op, scan.value, scan.store, Const(0, scan.value.dtype))


def _finish(printer: Printer, scan: Scan, value: Known, local: tuple[str, ...]) -> None:
    if root(printer.program, scan.store.tensor) not in local:
        printer.write(scan.store, value)
    printer.keep(scan.store, value)
