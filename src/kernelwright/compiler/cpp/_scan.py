"""Prints scans: sequential with each lane a row of its own, or along the lanes with a carry from vector to vector."""

from __future__ import annotations

from ..program import Scan
from ._indices import size_text, static
from ._nest import INLINE, Context, Text, bounds_of, by_stride, lane_loop, printer_of
from ._operators import scalar_type, vector_type
from ._stages import Stage, W
from .printer import Printer, Temp

_STRUCTS = {"sum": "Sum", "prod": "Prod", "max": "Max", "min": "Min", "logsumexp": "LogSumExp"}


def emit_scan(context: Context, stage: Stage, lane: str | None, text: Text) -> None:
    """Print the loops of a stage that is one scan."""
    scan = stage.scan
    assert scan is not None
    text.open()
    others = [a for a in by_stride(context.program, stage) if a.name != lane]
    for axis in others:
        text.loop(axis.name, *bounds_of(context, axis))
    if lane == scan.scan.name:
        _emit_along(context, scan, text)
    elif lane is None:
        _emit_sequence(context, scan, None, text)
    else:
        text.open(f"const auto point = [&](const int64_t {lane}, const int lanes)")
        _emit_sequence(context, scan, lane, text)
        text.close("};")
        lane_loop(context, next(a for a in stage.axes if a.name == lane), {}, text)
    for _ in others:
        text.close()
    text.close()


def state_dtype(scan: Scan) -> str:
    """The dtype a scan accumulates in."""
    dtype = scan.value.dtype
    if scan.op == "sum" and dtype == "float32":
        return "float64"
    if scan.op in ("sum", "prod") and "float" not in dtype:
        return "int64"
    return "int32" if dtype == "bool" else dtype


def _emit_sequence(context: Context, scan: Scan, lane: str | None, text: Text) -> None:
    vector, dtype = lane is not None, state_dtype(scan)
    kind = vector_type(dtype) if vector else scalar_type(dtype)
    text(f"kw::{_STRUCTS[scan.op]}<{kind}> state;")
    name, size = scan.scan.name, size_text(scan.scan.size)
    if scan.reverse:
        text.open(f"for (int64_t {name} = {size} - 1; {name} >= 0; --{name})")
    else:
        text.loop(name, "0", size)
    printer = printer_of(context, lane, "lanes" if lane else None, context.ranges)
    value = printer.converted(printer.temp(scan.value), dtype)
    if vector:
        value = printer.widened(value)
    before, after = ("state.value()", "") if scan.exclusive else ("", "state.value()")
    if before:
        printer.lines.append(f"const {kind} scanned = {before};")
    printer.lines.append(f"state.add({value.name});")
    if after:
        printer.lines.append(f"const {kind} scanned = {after};")
    _store(printer, scan, Temp("scanned", dtype, vector))
    for line in printer.lines:
        text(line)
    text.close()


def _store(printer: Printer, scan: Scan, temp: Temp) -> None:
    printer.store(scan.store, temp, temp.dtype)


def _emit_along(context: Context, scan: Scan, text: Text) -> None:
    """Vector by vector along the scanned axis, from the end if reversed."""
    name, dtype = scan.scan.name, state_dtype(scan)
    lanes_dtype = "float32" if dtype == "float64" and scan.value.dtype == "float32" else dtype
    size = static(scan.scan.size)
    total = size_text(scan.scan.size)
    text(f"kw::Carry<kw::{_STRUCTS[scan.op]}, {vector_type(lanes_dtype)}, {scalar_type(dtype)}> state;")
    text.open(f"const auto point = [&](const int64_t at, const int lanes) {INLINE}")
    text(f"const int64_t {name} = {f'{total} - at - lanes' if scan.reverse else 'at'};")
    printer = printer_of(context, name, "lanes", context.ranges)
    value = printer.widened(printer.converted(printer.temp(scan.value), lanes_dtype))
    flags = f"<{str(scan.exclusive).lower()}, {str(scan.reverse).lower()}>"
    printer.lines.append(f"const {vector_type(lanes_dtype)} scanned = state.next{flags}({value.name}, lanes);")
    _store(printer, scan, Temp("scanned", lanes_dtype, True))
    for line in printer.lines:
        text(line)
    text.close("};")
    text("int64_t at = 0;")
    text(f"for (; at + kw::W <= {total}; at += kw::W) point(at, kw::W);")
    if size is None or size % W:
        text(f"if (at < {total}) point(at, int({total} - at));")


__all__ = ["emit_scan", "state_dtype"]
