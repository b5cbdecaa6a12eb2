"""What Triton's interpreter lacks or gets wrong: CUDA's mathematical library, bfloat16, truths.

The interpreter truncates to bfloat16 where a GPU rounds, multiplies its bits as integers, takes the result of comparing
two scalars for a number when it broadcasts it, and has no libdevice at all.
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

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        a, b = (TensorHandle(floats(x.data), tl.float32) if x.dtype.scalar == tl.bfloat16 else x for x in (a, b))
        return dot(self, a, b, *rest)

    InterpreterBuilder.cast_impl = cast
    InterpreterBuilder.create_dot = create_dot


def _correct_truths() -> None:
    import numpy as np
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    original = InterpreterBuilder.binary_op

    def binary_op(self: Any, lhs: Any, rhs: Any, op: Any) -> Any:
        found = original(self, lhs, rhs, op)
        return TensorHandle(found.data, tl.int1) if found.data.dtype == np.bool_ else found

    InterpreterBuilder.binary_op = binary_op
