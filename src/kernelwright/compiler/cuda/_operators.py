"""How each operation, constant and cast of the tensor programs is spelled in CUDA C++."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..cpp._operators import float_literal
from ..program import FLOATS, Const, Op
from ._text import AND, ATOM, BITAND, BITOR, BITXOR, CHOICE, EQUAL, OR, ORDER, PRODUCT, SUM, UNARY

_VALUES = {
    "float32": "float", "float64": "double", "bfloat16": "float", "float16": "float", "int64": "int64_t",
    "int32": "int", "int16": "int16_t", "int8": "int8_t", "uint8": "uint8_t", "bool": "bool",
}  # fmt: skip
_MEMORY = {**_VALUES, "bfloat16": "kw::bf16", "float16": "kw::f16"}
_INFIX = {"add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT)}
_BITS = {"bitand": ("&", BITAND), "bitor": ("|", BITOR), "bitxor": ("^", BITXOR)}
_COMPARISONS = {
    "eq": ("==", EQUAL), "ne": ("!=", EQUAL), "lt": ("<", ORDER), "le": ("<=", ORDER), "gt": (">", ORDER),
    "ge": (">=", ORDER),
}  # fmt: skip
_LOGIC = {"and": ("&&", AND), "or": ("||", OR), "xor": ("!=", EQUAL)}
# torch's arithmetic on bool: sums are or, products are and
_BOOLEAN = {
    "add": "or", "maximum": "or", "bitor": "or", "mul": "and", "minimum": "and", "bitand": "and", "bitxor": "xor",
    "fmax": "or", "fmin": "and",
}  # fmt: skip
_LIBRARY = {"round": "rint", "abs": "fabs"}
_OURS = {
    "maximum": "maximum", "minimum": "minimum", "sign": "sign", "sigmoid": "sigmoid", "floordiv": "float_floor_div",
    "mod": "float_mod",
}  # fmt: skip
_INTEGERS = {
    "maximum": "maximum", "minimum": "minimum", "fmax": "maximum", "fmin": "minimum", "sign": "sign", "abs": "absolute",
    "floordiv": "floor_div", "mod": "floor_mod", "truncdiv": "trunc_div", "fmod": "trunc_mod", "pow": "int_pow",
    "shl": "shift_left", "shr": "shift_right",
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """An expression, and how tightly it binds."""

    text: str
    binds: int = ATOM


def value_type(dtype: str) -> str:
    """The C++ type of a value in flight: half types widen to float."""
    return _VALUES[dtype]


def memory_type(dtype: str) -> str:
    """The C++ type of an element in memory."""
    return _MEMORY[dtype]


def literal_text(const: Const) -> str:
    """A literal of exactly this value and type."""
    if const.dtype == "bool":
        return "true" if const.value else "false"
    kind = value_type(const.dtype)
    if const.dtype not in FLOATS:
        value = int(const.value)
        if value == -(2**63):
            return "(-9223372036854775807ll - 1)"
        if value == -(2**31):
            return f"{kind}(-2147483647 - 1)"
        return str(value) if kind == "int" else f"{kind}({value}{'ll' if abs(value) >= 2**31 else ''})"
    number = float(const.value)
    if math.isnan(number):
        return f"kw::nan<{kind}>()"
    if math.isinf(number):
        return f"{'-' if number < 0 else ''}kw::infinity<{kind}>()"
    if kind == "double":
        return repr(number)
    text = float_literal(number)
    return text.replace("__builtin_inff", "kw::infinity<float>")


def cast_text(name: str, source: str, dtype: str) -> Text:
    """A value cast to another dtype by torch's rules."""
    if dtype == "bool":
        return Text(f"{name} != 0", EQUAL)
    if source in FLOATS and dtype in ("int8", "uint8", "int16"):
        return Text(f"{value_type(dtype)}(int64_t({name}))")
    return Text(f"{value_type(dtype)}({name})")


def op_text(expr: Op, kind: str, names: list[str]) -> Text:
    """An operation on operands that already have the dtype ``kind``."""
    name = expr.name
    if name == "where":
        return Text(f"{names[0]} ? {names[1]} : {names[2]}", CHOICE)
    if kind == "bool" and name not in ("isnan", "isinf"):
        name = _BOOLEAN.get(name, name)
    if name in _LOGIC:
        return _infix(_LOGIC[name], names)
    if name == "not" or (kind == "bool" and name == "bitnot"):
        return Text(f"!{names[0]}", UNARY)
    if name.startswith("round_to_"):
        half = {"bfloat16": "bf16", "float16": "f16"}[name.removeprefix("round_to_")]
        return Text(f"kw::to_float(kw::to_{half}({names[0]}))")
    if name in _COMPARISONS:
        return _infix(_COMPARISONS[name], names)
    if name in ("isnan", "isinf"):
        return _special(name, kind, names[0])
    text = _float_text(name, kind, names) if kind in FLOATS else _integer_text(name, names)
    if kind in ("int8", "uint8", "int16"):  # C++ computes in int, torch in the type itself
        return Text(f"{value_type(kind)}({text.text})")
    return text


def _infix(sign: tuple[str, int], names: list[str]) -> Text:
    return Text(f"{names[0]} {sign[0]} {names[1]}", sign[1])


def _special(name: str, kind: str, value: str) -> Text:
    if kind not in FLOATS:
        return Text("false")
    if name == "isnan":
        return Text(f"{value} != {value}", EQUAL)
    return Text(f"{_function('fabs', kind)}({value}) == kw::infinity<{value_type(kind)}>()", EQUAL)


def _float_text(name: str, kind: str, names: list[str]) -> Text:
    if name in _INFIX:
        return _infix(_INFIX[name], names)
    if name == "div":
        return Text(f"{names[0]} / {names[1]}", PRODUCT)
    if name == "neg":
        return Text(f"-{names[0]}", UNARY)
    if name == "square":
        return Text(f"{names[0]} * {names[0]}", PRODUCT)
    if name == "reciprocal":
        return Text(f"{literal_text(Const(1.0, kind))} / {names[0]}", PRODUCT)
    if name == "truncdiv":
        return Text(f"{_function('trunc', kind)}({names[0]} / {names[1]})")
    if name in _OURS:
        return Text(f"kw::{_OURS[name]}({', '.join(names)})")
    return Text(f"{_function(_LIBRARY.get(name, name), kind)}({', '.join(names)})")


def _function(name: str, kind: str) -> str:
    """C's name of a function for this type."""
    return name if kind == "float64" else f"{name}f"


def _integer_text(name: str, names: list[str]) -> Text:
    if name in _INFIX:
        return _infix(_INFIX[name], names)
    if name in _BITS:
        return _infix(_BITS[name], names)
    if name == "bitnot":
        return Text(f"~{names[0]}", UNARY)
    if name == "neg":
        return Text(f"-{names[0]}", UNARY)
    if name == "square":
        return Text(f"{names[0]} * {names[0]}", PRODUCT)
    if name in ("floor", "ceil", "round", "trunc"):
        return Text(names[0])
    return Text(f"kw::{_INTEGERS[name]}({', '.join(names)})")
