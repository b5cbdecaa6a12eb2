"""Small functions that generated kernels call; a module holds those that it needs.

They stand where Triton's own operators mean something else than torch's: NaN in comparisons, division that rounds down.
"""

from __future__ import annotations

HELPERS: dict[str, str] = {
    "maximum": '''
@triton.jit
def maximum(a, b):
    """The larger number; NaN if one is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
''',
    "minimum": '''
@triton.jit
def minimum(a, b):
    """The smaller number; NaN if one is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)
''',
    "largest": '''
@triton.jit
def largest(v, axis: tl.constexpr, keep_dims: tl.constexpr):
    """The largest number along an axis; NaN if one is (tl.max alone skips it)."""
    any_nan = tl.max((v != v).to(tl.int32), axis, keep_dims=keep_dims) > 0
    return tl.where(any_nan, float("nan"), tl.max(v, axis, keep_dims=keep_dims))
''',
    "smallest": '''
@triton.jit
def smallest(v, axis: tl.constexpr, keep_dims: tl.constexpr):
    """The smallest number along an axis; NaN if one is (tl.min alone skips it)."""
    any_nan = tl.max((v != v).to(tl.int32), axis, keep_dims=keep_dims) > 0
    return tl.where(any_nan, float("nan"), tl.min(v, axis, keep_dims=keep_dims))
''',
    "first_place": '''
@triton.jit
def first_place(v, best, place, axis: tl.constexpr, keep_dims: tl.constexpr):
    """The lowest place at which a value is the best one, NaN being equal to itself."""
    hit = (v == best) | ((v != v) & (best != best))
    return tl.min(tl.where(hit, place, 2147483647), axis, keep_dims=keep_dims)
''',
    "multiply": """
@triton.jit
def multiply(a, b):
    return a * b
""",
    "log_add_exp": '''
@triton.jit
def log_add_exp(a, b):
    """log(exp(a) + exp(b)), also where both are infinite."""
    high = tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
    low = tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)
    return tl.where((high == low) & (tl.abs(high) == float("inf")), high, high + tl.log(1.0 + tl.exp(low - high)))
''',
    "floor_div": '''
@triton.jit
def floor_div(a, b):
    """Integer division that rounds down (// rounds towards zero in a kernel)."""
    quotient = a // b
    return tl.where((a % b != 0) & ((a < 0) != (b < 0)), quotient - 1, quotient)
''',
    "floor_mod": '''
@triton.jit
def floor_mod(a, b):
    """The remainder of a division that rounds down: it has the sign of the divisor."""
    rest = a % b
    return tl.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)
''',
    "float_remainder": '''
@triton.jit
def float_remainder(a, b):
    """torch.remainder: it has the sign of the divisor."""
    rest = libdevice.fmod(a, b)
    return tl.where((rest != 0.0) & ((rest < 0.0) != (b < 0.0)), rest + b, rest)
''',
    "float_floor_div": '''
@triton.jit
def float_floor_div(a, b):
    """torch's floor division of floats: exact quotients stay exact."""
    rest = libdevice.fmod(a, b)
    quotient = (a - rest) / b
    quotient = tl.where((rest != 0.0) & ((rest < 0.0) != (b < 0.0)), quotient - 1.0, quotient)
    whole = tl.floor(quotient)
    whole = tl.where(quotient - whole > 0.5, whole + 1.0, whole)
    return tl.where(b == 0.0, a / b, whole)
''',
    "sign": '''
@triton.jit
def sign(x):
    """-1, 0 or 1."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)
''',
    "int_pow": '''
@triton.jit
def int_pow(base, exponent):
    """An integer power, by squaring; a negative exponent leaves 0 of everything but 1 and -1."""
    result = tl.where(exponent >= 0, base * 0 + 1, base * 0)
    square = base
    for bit in tl.static_range(6):
        result = tl.where((exponent >> bit) & 1 != 0, result * square, result)
        square = square * square
    unit = tl.where((base == -1) & (exponent % 2 != 0), -1, 1)
    return tl.where((exponent < 0) & ((base == 1) | (base == -1)), unit.to(base.dtype), result)
''',
}


def helper_texts(names: frozenset[str]) -> list[str]:
    """The functions of these names, in the order of the table."""
    return [text.strip() for name, text in HELPERS.items() if name in names]
