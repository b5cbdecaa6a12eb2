"""How each operation, constant and cast of the tensor programs is spelled in Triton."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..program import FLOATS, Const, Op

# torch's name -> that of CUDA's own mathematical library
_LIBRARY = {
    name: name
    for name in (
        "expm1", "log10", "log1p", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
        "erfc", "lgamma", "atan2", "copysign", "pow", "fmod", "trunc",
    )
} | {"round": "rint"}  # fmt: skip
_LANGUAGE = ("abs", "sqrt", "rsqrt", "exp", "exp2", "log", "log2", "sin", "cos", "erf", "sigmoid", "floor", "ceil")
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_LOGIC = {"and": "&", "or": "|", "xor": "^"}
_BITS = {"bitand": "&", "bitor": "|", "bitxor": "^", "shl": "<<", "shr": ">>"}
_BOOLEAN = {
    "add": "|", "maximum": "|", "bitor": "|", "mul": "&", "minimum": "&", "bitand": "&", "bitxor": "^", "ne": "!=",
    "eq": "==",
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """An expression; ``tight`` where it needs no brackets beside an operator; ``helper`` is what it calls."""

    text: str
    tight: bool = True
    helper: str = ""


def storage_type(dtype: str) -> str:
    """The Triton type of an element in memory, and of a value of that dtype."""
    return "tl.int1" if dtype == "bool" else f"tl.{dtype}"


def literal_text(const: Const) -> str:
    """A Python literal of this value."""
    if const.dtype == "bool":
        return str(bool(const.value))
    if const.dtype not in FLOATS:
        return str(int(const.value))
    value = float(const.value)
    if math.isnan(value) or math.isinf(value):
        return f'float("{value}")'
    return repr(value)


def full_text(const: Const) -> str:
    """The same as a tensor of exactly this dtype."""
    return f"tl.full((), {literal_text(const)}, {storage_type(const.dtype)})"


def cast_text(name: str, source: str, dtype: str) -> Text:
    """A value cast to another dtype by torch's rules."""
    if dtype == "bool":
        return Text(f"{name} != 0", tight=False)
    if source in FLOATS and dtype in ("int8", "uint8", "int16"):
        return Text(f"{name}.to(tl.int32).to({storage_type(dtype)})")
    return Text(f"{name}.to({storage_type(dtype)})")


def op_text(expr: Op, kind: str, names: list[str]) -> Text:
    """An operation on operands that already have the dtype ``kind``."""
    name = expr.name
    if name == "where":
        return Text(f"tl.where({', '.join(names)})")
    if name in _LOGIC:
        return Text(f" {_LOGIC[name]} ".join(names), tight=False)
    if name == "not":
        return Text(f"~{names[0]}")
    if name.startswith("round_to_"):
        return Text(f"{names[0]}.to(tl.{name.removeprefix('round_to_')}).to(tl.float32)")
    if kind == "bool":
        return _boolean_text(name, names)
    if name in _COMPARISONS:
        return Text(f"{names[0]} {_COMPARISONS[name]} {names[1]}", tight=False)
    if name in ("isnan", "isinf"):
        return _special_text(name, kind, names[0])
    if name == "square":
        return Text(f"{names[0]} * {names[0]}", tight=False)
    if name == "neg":
        return Text(f"-{names[0]}", tight=False)
    if name == "sign":
        return _helper("sign", names)
    return _float_text(name, names) if kind in FLOATS else _integer_text(name, kind, names)


def _helper(name: str, names: list[str]) -> Text:
    return Text(f"{name}({', '.join(names)})", helper=name)


def _float_text(name: str, names: list[str]) -> Text:
    if name in _INFIX:
        return Text(f"{names[0]} {_INFIX[name]} {names[1]}", tight=False)
    if name == "reciprocal":
        return Text(f"1.0 / {names[0]}", tight=False)
    if name in ("maximum", "minimum"):
        return _helper(name, names)
    if name in ("fmax", "fmin"):
        return Text(f"tl.{'maximum' if name == 'fmax' else 'minimum'}({', '.join(names)})")
    if name == "truncdiv":
        return Text(f"libdevice.trunc({names[0]} / {names[1]})")
    if name == "floordiv":
        return _helper("float_floor_div", names)
    if name == "mod":
        return _helper("float_remainder", names)
    if name in _LANGUAGE:
        return Text(f"tl.{name}({names[0]})")
    return Text(f"libdevice.{_LIBRARY[name]}({', '.join(names)})")


def _integer_text(name: str, kind: str, names: list[str]) -> Text:
    if name in _BITS or name in ("add", "sub", "mul"):
        sign = _BITS.get(name) or _INFIX[name]
        return Text(f"{names[0]} {sign} {names[1]}", tight=False)
    if name == "bitnot":
        return Text(f"~{names[0]}")
    if name in ("truncdiv", "fmod"):
        return Text(f"{names[0]} {'//' if name == 'truncdiv' else '%'} {names[1]}", tight=False)
    if name in ("floordiv", "mod"):
        if kind == "uint8":
            return Text(f"{names[0]} {'//' if name == 'floordiv' else '%'} {names[1]}", tight=False)
        return _helper("floor_div" if name == "floordiv" else "floor_mod", names)
    if name in ("maximum", "minimum", "fmax", "fmin"):
        return Text(f"tl.{'maximum' if 'max' in name else 'minimum'}({', '.join(names)})")
    if name == "pow" and kind == "uint8":
        wide = [f"{n}.to(tl.int32)" for n in names]
        return Text(f"int_pow({', '.join(wide)}).to(tl.uint8)", helper="int_pow")
    if name == "pow":
        return _helper("int_pow", names)
    if name in ("floor", "ceil", "round", "trunc"):
        return Text(names[0])
    return Text(f"tl.{name}({names[0]})")  # abs


def _boolean_text(name: str, names: list[str]) -> Text:
    """torch's arithmetic on bool: sums are or, products are and."""
    if name in _BOOLEAN:
        return Text(f"{names[0]} {_BOOLEAN[name]} {names[1]}", tight=False)
    if name == "bitnot":
        return Text(f"~{names[0]}")
    if name in ("isnan", "isinf"):
        return Text(f"{names[0]} & ~{names[0]}", tight=False)
    a, b = names
    forms = {"lt": f"~{a} & {b}", "gt": f"{a} & ~{b}", "le": f"~{a} | {b}", "ge": f"{a} | ~{b}"}
    return Text(forms[name], tight=False)


def _special_text(name: str, kind: str, value: str) -> Text:
    if kind not in FLOATS:
        return Text(f"{value} != {value}", tight=False)
    if name == "isnan":
        return Text(f"{value} != {value}", tight=False)
    return Text(f'tl.abs({value}) == float("inf")', tight=False)
