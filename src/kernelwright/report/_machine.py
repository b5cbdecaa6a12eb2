"""A machine's description with numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernelwright.report._format import bytes_text, rate_text

_BYTES = ("l1d", "l2", "l3", "memory")
_BANDWIDTHS = ("copy", "read", "l1", "l2", "l3")
_NAMES = {"l1": "L1", "l1d": "L1d", "l2": "L2", "l3": "L3", "simd_bits": "SIMD", "cpu": "CPU", "os": "OS", "isa": "ISA"}


def readable_machine(machine: Mapping[str, Any]) -> dict[str, Any]:
    """The "machine" of a document for people: sizes and rates with units, absent values left out."""
    rows: dict[str, Any] = {}
    for key, value in machine.items():
        if key == "peaks":
            rows["peak"] = _peaks(value)
        elif value not in ("", None, (), []):
            rows[_NAMES.get(key, key)] = _value(key, value)
    return rows


def _value(key: str, value: Any) -> str:
    if key in _BYTES:
        return bytes_text(value) if value else "none"
    if key == "simd_bits":
        return f"{value} bit ({value // 32} float32 lanes)"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _peaks(peaks: Mapping[str, Any]) -> dict[str, str]:
    """Bandwidths are in GB/s, everything else numeric in FLOP/s; zero means not measured."""
    rows: dict[str, str] = {}
    for key, value in peaks.items():
        if isinstance(value, str):
            rows[f"rates, {key}"] = value
        elif value:
            name = f"{_NAMES.get(key, key)} bandwidth" if key in _BANDWIDTHS else key.replace("_core", " one core")
            rows[name] = rate_text(value * 1e9, "B/s") if key in _BANDWIDTHS else rate_text(value, "FLOP/s")
    return rows
