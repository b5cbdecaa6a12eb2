"""What Triton's interpreter lacks or gets wrong: CUDA's mathematical library, bfloat16, tf32, truths.

The interpreter truncates to bfloat16 where a GPU rounds, multiplies its bits as integers, multiplies tf32 operands as
the float32 that they were, takes the result of comparing two scalars for a number when it broadcasts it, and has no
libdevice at all.
Kernels are verified by interpreting them, so these have to mean there what they mean on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# libdevice's name -> torch's, for functions of one and of two numbers
_FUNCTIONS = {
    "acos": "acos", "acosh": "acosh", "asin": "asin", "asinh": "asinh", "atan": "atan", "atanh": "atanh",
    "cosh": "cosh", "erf": "erf", "erfc": "erfc", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "lgamma": "lgamma",
    "log": "log", "log10": "log10", "log1p": "log1p", "log2": "log2", "rint": "round", "rsqrt": "rsqrt", "sinh": "sinh",
    "sqrt": "sqrt", "tan": "tan", "tanh": "tanh", "trunc": "trunc", "atan2": "atan2", "copysign": "copysign",
    "fmod": "fmod", "pow": "pow",
}  # fmt: skip


def emulate() -> None:
    """Make the interpreter's ``libdevice`` work, and bfloat16 round. Triton must have been imported to interpret."""
    from triton.language.extra.cuda import libdevice

    for name, torch_name in _FUNCTIONS.items():
        setattr(libdevice, name, _function(getattr(torch, torch_name)))
    _correct_bfloat16()
    _correct_truths()
    _correct_bounds()
    _correct_extremes()


def _function(apply: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """A function of torch on the interpreter's tensors; Python numbers take the dtype of the tensor beside them."""
    import numpy as np
    from triton.language import core
    from triton.runtime.interpreter import TensorHandle

    def call(*args: Any) -> Any:
        tensors = [a for a in args if isinstance(a, core.tensor)]
        kind = tensors[0].handle.data.dtype
        data = [
            torch.from_numpy(np.asarray(a.handle.data)) if isinstance(a, core.tensor) else torch.tensor(a) for a in args
        ]
        found = apply(*(d.to(torch.from_numpy(np.empty(0, kind)).dtype) for d in data)).numpy()
        scalar = tensors[0].dtype
        shape = list(np.broadcast_shapes(*(tuple(t.shape) for t in tensors)))
        kind_of = core.block_type(scalar, shape) if shape else scalar
        return core.tensor(TensorHandle(found, scalar), kind_of)

    return call


def _correct_bfloat16() -> None:
    import numpy as np
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    original, dot = InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot

    def floats(data: Any) -> Any:
        return (data.astype(np.uint32) << 16).view(np.float32)

    def rounded(data: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(data)).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)

    def cast(self: Any, src: Any, dst_type: Any) -> Any:
        source, target = src.dtype.scalar, dst_type.scalar
        if source == target or tl.bfloat16 not in (source, target):
            return original(self, src, dst_type)
        if source == tl.bfloat16:
            return original(self, TensorHandle(floats(src.data), tl.float32), dst_type)
        return TensorHandle(rounded(src.data).reshape(src.data.shape), tl.bfloat16)

    def create_dot(self: Any, a: Any, b: Any, d: Any, precision: Any, *rest: Any) -> Any:
        a, b = (TensorHandle(floats(x.data), tl.float32) if x.dtype.scalar == tl.bfloat16 else x for x in (a, b))
        name = getattr(precision, "name", "")
        if not name.startswith("TF32") or a.dtype.scalar != tl.float32:
            return dot(self, a, b, d, precision, *rest)
        for left, right in _tf32_products(a.data, b.data, name == "TF32x3"):
            pair = (TensorHandle(data, tl.float32) for data in (left, right))
            d = dot(self, *pair, d, precision, *rest)
        return d

    InterpreterBuilder.cast_impl = cast
    InterpreterBuilder.create_dot = create_dot


def _tf32_products(a: Any, b: Any, thrice: bool) -> list[tuple[Any, Any]]:
    """The products that the matrix units compute of float32 operands, the small ones first.

    They see the upper 19 bits of a number; what is left over is multiplied besides where that is asked for.
    """
    import numpy as np

    def upper(data: Any) -> Any:
        return (np.ascontiguousarray(data, np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    (a_high, b_high) = upper(a), upper(b)
    if not thrice:
        return [(a_high, b_high)]
    with np.errstate(invalid="ignore"):  # nothing is left over of what is not finite
        a_low, b_low = (upper(np.where(np.isfinite(x), x - h, 0)) for x, h in ((a, a_high), (b, b_high)))
    a_safe, b_safe = (np.where(np.isfinite(h), h, 0) for h in (a_high, b_high))
    return [(a_safe, b_low), (a_low, b_safe), (a_high, b_high)]


def _correct_truths() -> None:
    import numpy as np
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    original = InterpreterBuilder.binary_op

    def binary_op(self: Any, lhs: Any, rhs: Any, op: Any) -> Any:
        found = original(self, lhs, rhs, op)
        return TensorHandle(found.data, tl.int1) if found.data.dtype == np.bool_ else found

    InterpreterBuilder.binary_op = binary_op


def _correct_bounds() -> None:
    """Older interpreters cannot take a computed scalar, an array of one number, for the bound of a loop."""
    from triton.runtime import interpreter

    original = interpreter._patch_lang_tensor

    def patch(tensor: Any, scope: Any) -> None:
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patch


def _correct_extremes() -> None:
    """The smaller and the larger of a number and NaN is the number; older interpreters say NaN."""
    import numpy as np
    from triton.runtime.interpreter import InterpreterBuilder

    InterpreterBuilder.create_minnumf = lambda self, lhs, rhs: self.binary_op(lhs, rhs, np.fmin)
    InterpreterBuilder.create_maxnumf = lambda self, lhs, rhs: self.binary_op(lhs, rhs, np.fmax)
