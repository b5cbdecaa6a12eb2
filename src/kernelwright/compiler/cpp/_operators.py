"""How each operation, constant and cast of the tensor programs is spelled in C++."""

from __future__ import annotations

import math
from typing import Protocol

from ..program import Const, Op

_SCALARS = {"float32": "float", "float64": "double", "int64": "int64_t", "bool": "bool"}
_VECTORS = {"float32": "kw::vf", "float64": "kw::vd", "int64": "kw::vl"}
_NARROW = {"int16": "int16_t", "int8": "int8_t", "uint8": "uint8_t"}
_FLOATS = ("float32", "float64", "bfloat16", "float16")
_INFIX = {"add": "+", "sub": "-", "mul": "*"}
_LOGIC = {"and": ("&&", "&"), "or": ("||", "|"), "xor": ("!=", "^")}
_BITS = {"bitand": "&", "bitor": "|", "bitxor": "^"}


class Typed(Protocol):
    """A value's dtype, and whether it has lanes."""

    @property
    def dtype(self) -> str: ...
    @property
    def vector(self) -> bool: ...


def scalar_type(dtype: str) -> str:
    """The C++ type of one value in flight."""
    return _SCALARS.get(dtype, "float" if dtype in _FLOATS else "int32_t")


def vector_type(dtype: str) -> str:
    """The C++ type of sixteen values in flight."""
    return _VECTORS.get(dtype, "kw::vf" if dtype in _FLOATS else "kw::vi")


def constant_text(const: Const) -> str:
    """A literal of exactly this value and type."""
    value = const.value
    if const.dtype == "bool":
        return "true" if value else "false"
    if const.dtype not in _FLOATS:
        if int(value) == -(2**63):
            return "INT64_MIN"
        return f"{scalar_type(const.dtype)}{{{int(value)}}}"
    suffix = "" if const.dtype == "float64" else "f"
    value = float(value)
    if math.isnan(value):
        return f'__builtin_nan{suffix}("")'
    if math.isinf(value):
        return ("-" if value < 0 else "") + f"__builtin_inf{suffix}()"
    if not suffix:
        return repr(value)
    return float_literal(value)


def float_literal(value: float) -> str:
    """The float32 nearest to a double; a double that overflows becomes an infinity."""
    import numpy as np

    with np.errstate(over="ignore"):
        narrow = np.float32(value)
    if np.isinf(narrow):
        return ("-" if value < 0 else "") + "__builtin_inff()"
    text = repr(float(narrow)) if float(narrow) == value and len(repr(value)) <= 9 else str(narrow)
    return (text if "." in text or "e" in text else text + ".0") + "f"


def convert_text(name: str, source: Typed, dtype: str) -> str:
    """A value cast to another dtype."""
    if dtype == "bool":
        return f"kw::to_mask({name})"
    target = vector_type(dtype) if source.vector else scalar_type(dtype)
    if source.dtype == "bool":
        return f"kw::from_mask<{target}>({name})"
    text = f"kw::to<{target}>({name})"
    return f"kw::wrap<{_NARROW[dtype]}>({text})" if dtype in _NARROW else text


def op_text(expr: Op, operands: list[str], names: list[str], vector: bool) -> str:
    """An operation on operands already in their dtypes and all vectors or all scalars."""
    kind = operands[-1]
    if expr.name in _LOGIC:
        return f" {_LOGIC[expr.name][vector]} ".join(names)
    if expr.name == "not":
        return f"~{names[0]}" if vector else f"!{names[0]}"
    if kind == "bool" and expr.dtype == "bool" and expr.name not in ("where", "isnan", "isinf"):
        return _boolean_text(expr.name, names, vector)
    if kind in _FLOATS:
        return _float_text(expr.name, names)
    text = _integer_text(expr.name, names)
    return f"kw::wrap<{_NARROW[expr.dtype]}>({text})" if expr.dtype in _NARROW else text


def _boolean_text(name: str, names: list[str], vector: bool) -> str:
    """torch's arithmetic on bool: sums are or, products are and."""
    logic = {"add": 1, "maximum": 1, "bitor": 1, "mul": 0, "minimum": 0, "bitand": 0, "bitxor": 2, "ne": 2}
    if name in logic:
        return f" {_LOGIC[('and', 'or', 'xor')[logic[name]]][vector]} ".join(names)
    if name == "bitnot":
        return f"~{names[0]}" if vector else f"!{names[0]}"
    invert = "~" if vector else "!"
    join = "&" if vector else "&&"
    either = "|" if vector else "||"
    a, b = names
    forms = {
        "eq": f"{invert}({a} ^ {b})" if vector else f"{a} == {b}",
        "lt": f"{invert}{a} {join} {b}",
        "gt": f"{a} {join} {invert}{b}",
        "le": f"{invert}{a} {either} {b}",
        "ge": f"{a} {either} {invert}{b}",
    }
    return forms[name]


def _float_text(name: str, names: list[str]) -> str:
    if name in _INFIX:
        return f" {_INFIX[name]} ".join(names)
    if name == "div":
        return f"{names[0]} / {names[1]}"
    if name == "neg":
        return f"-{names[0]}" if not names[0].startswith("-") else f"-({names[0]})"
    if name == "square":
        return f"{names[0]} * {names[0]}"
    return _call(name, names)


def _integer_text(name: str, names: list[str]) -> str:
    if name in _BITS:
        return f" {_BITS[name]} ".join(names)
    if name == "bitnot":
        return f"~{names[0]}"
    if name == "square":
        return f"kw::mul({names[0]}, {names[0]})"
    return _call(name, names)


def _call(name: str, names: list[str]) -> str:
    name = {"where": "select"}.get(name, name)
    return f"kw::{name}({', '.join(names)})"
