"""The family's operation: ``activation(x @ W.T + bias)`` for a matrix of low-bit weights in tiles.

Held together here: what it means (:class:`Product`, the reference), and the C++ that computes it. One source serves
every size: what the template must know are the bits, the group size and the types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ...errors import LowBitInvalid
from ...targets.plan import WORKSPACE, Candidate, EntryCall, InputSpec, Plan, SymbolSpec, TensorSpec
from ._tiles import ROWS, TiledWeight, untiled

Activate = Callable[[torch.Tensor], torch.Tensor]

ACTIVATIONS: dict[str | None, tuple[Activate, str]] = {
    None: (lambda y: y, "v"),
    "relu": (torch.relu, "kw::maximum(v, kw::splat<kw::vf>(0.0f))"),
    "silu": (torch.nn.functional.silu, "v * kw::sigmoid(v)"),
    "gelu": (torch.nn.functional.gelu, "v * 0.5f * (kw::erf(v * 0.70710678f) + 1.0f)"),
}
"""What may be done to the results: in PyTorch, and for a vector of them in C++."""

MOST_ROWS = 512  # of activations in one call: more are cut into several by the operation
_CPP = {torch.float32: "float", torch.bfloat16: "kw::bf16", torch.float16: "kw::f16"}
_DTYPES = {"float": "kFloat32", "kw::bf16": "kBFloat16", "kw::f16": "kFloat16"}


@dataclass(frozen=True)
class Product:
    """One product as a plain callable on ``(x, codes, scale[, offset][, bias])``: the task's reference.

    ``x`` is ``[M, K]`` of ``dtype``, the weight's parts are :class:`TiledWeight`'s; the result is ``[M, rows]`` of
    ``dtype``. Computed in float32 (float64 when the parts are float64) as anybody would: dequantise, then multiply.
    """

    bits: int
    zero: int
    group_size: int
    rows: int
    columns: int
    dtype: torch.dtype = torch.float32
    scales: torch.dtype = torch.float32
    has_offset: bool = False
    has_bias: bool = False
    activation: str | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        for name, dtype in (("x", self.dtype), ("scale", self.scales)):
            if dtype not in _CPP:
                raise LowBitInvalid(f"{name} is {dtype}; products take float32, bfloat16 and float16.")

    @staticmethod
    def of(weight: TiledWeight, dtype: torch.dtype, has_bias: bool, activation: str | None) -> Product:
        """The product of a weight with activations of ``dtype``."""
        return Product(
            weight.kind.bits, weight.zero, weight.group_size, *weight.shape,
            dtype=dtype, scales=weight.scale.dtype, has_offset=weight.offset is not None, has_bias=has_bias,
            activation=activation,
        )  # fmt: skip

    def __call__(self, x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        rest = list(more)
        wide = torch.float64 if torch.float64 in (x.dtype, scale.dtype) else torch.float32
        weight = (untiled(codes, self.bits).to(wide) - self.zero).unflatten(1, (-1, self.group_size))
        weight = weight * _by_row(scale.to(wide))
        if self.has_offset:
            weight = weight + _by_row(rest.pop(0).to(wide))
        y = x.to(wide) @ weight.flatten(1)[: self.rows].T
        if self.has_bias:
            y = y + rest.pop(0).to(wide)
        return ACTIVATIONS[self.activation][0](y).to(x.dtype)

    def arguments(self, x: torch.Tensor, weight: TiledWeight, bias: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """What :meth:`__call__` and the kernel take."""
        parts = (weight.offset if self.has_offset else None, bias if self.has_bias else None)
        return (x, weight.codes, weight.scale, *(part for part in parts if part is not None))


def check_activation(name: str | None) -> None:
    """Raise ``LowBitInvalid`` for a name that no activation has."""
    if name not in ACTIVATIONS:
        known = ", ".join(repr(known) for known in ACTIVATIONS)
        raise LowBitInvalid(f"activation is {name!r}, which is none of {known}.")


def _by_row(part: torch.Tensor) -> torch.Tensor:
    """``[tiles, groups, 16]`` as ``[16 * tiles, groups, 1]``."""
    return part.mT.reshape(-1, part.shape[1], 1)


def candidate(product: Product) -> Candidate:
    """The product as C++ with its launch plan, for 1 to 512 rows of activations."""
    tensors = _tensors(product)
    *inputs, out = tensors
    plan = Plan(
        inputs=tuple(InputSpec(("arg", position), spec) for position, spec in enumerate(inputs)),
        buffers=(out,),
        steps=(EntryCall("product", (*(spec.name for spec in tensors), WORKSPACE)),),
        results=(out.name,),
        symbols=(SymbolSpec("m", 0, 0, 1, MOST_ROWS),),
        workspace=_workspace(product),
    )
    return Candidate("cpu", "kernels/lowbit", _source(product), plan, label="lowbit")


def _tensors(product: Product) -> list[TensorSpec]:
    tiles, groups = -(-product.rows // ROWS), product.columns // product.group_size
    name = {dtype: str(dtype).removeprefix("torch.") for dtype in _CPP}
    made = [
        _dense("x", ("m", product.columns), name[product.dtype]),
        _dense("codes", (tiles, product.columns // 32, product.bits, 64), "uint8"),
        _dense("scale", (tiles, groups, ROWS), name[product.scales]),
    ]
    if product.has_offset:
        made.append(_dense("offset", (tiles, groups, ROWS), name[product.scales]))
    if product.has_bias:
        made.append(_dense("bias", (product.rows,), name[product.dtype]))
    return [*made, _dense("out", ("m", product.rows), name[product.dtype])]


def _dense(name: str, shape: tuple[int | str, ...], dtype: str) -> TensorSpec:
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size if isinstance(size, int) else 1  # only the first size may be a symbol
    return TensorSpec(name, shape, dtype, tuple(strides))


def _workspace(product: Product) -> str:
    """Bytes of digits, sums and units of ``m`` rows (``Row`` and ``row_bytes`` in kw/lowbit.h)."""
    depth, block = product.columns, next(size for size in (128, 64, 32) if product.group_size % size == 0)
    return f"m*{48 + 4 * (depth + depth // block * 6 + depth // product.group_size)}"


def _source(product: Product) -> str:
    x, scales = _CPP[product.dtype], _CPP[product.scales]
    names = [spec.name for spec in _tensors(product)]
    offset = "offset" if product.has_offset else f"static_cast<const {scales}*>(nullptr)"
    bias = "bias" if product.has_bias else f"static_cast<const {x}*>(nullptr)"
    checks = "\n".join(_check(product, position, name) for position, name in enumerate(names))
    return f"""\
// A product with {product.bits}-bit weights in groups of {product.group_size}, by kernelwright
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/lowbit.h>

extern "C" KW_EXPORT int __tvm_ffi_product(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {{
  if (count != {len(names) + 1}) return kw::answer(result, {len(names) + 2});
  const kw::Tensor *first = kw::tensor(args[0]), *last = kw::tensor(args[{len(names) - 1}]);
  if (!first || first->ndim != 2) return kw::answer(result, 1);
  if (!last || last->ndim != 2) return kw::answer(result, {len(names)});
  const int64_t m = first->shape[0], depth = first->shape[1], n = last->shape[1];
  const int64_t tiles = kw::ceil_div(n, kw::lowbit::ROWS), groups = depth / {product.group_size};
  if (m < 1 || m > {MOST_ROWS} || depth % {product.group_size}) return kw::answer(result, 1);
{checks}
  char* workspace = kw::data(kw::tensor(args[{len(names)}]));
  auto activation = [](kw::vf v) {{ return {ACTIVATIONS[product.activation][1]}; }};
  kw::lowbit::product<{product.bits}, {product.group_size}, {product.zero}, {str(product.has_offset).lower()}>(
      x, codes, scale, {offset}, {bias}, out, m, n, depth, workspace, kw::max_threads(), activation);
  return kw::answer(result, 0);
}}
"""


def _check(product: Product, position: int, name: str) -> str:
    """The lines that look at an argument and give it its C name."""
    groups = ("tiles, groups, kw::lowbit::ROWS", "groups * kw::lowbit::ROWS, kw::lowbit::ROWS, 1")
    x, scales = _CPP[product.dtype], _CPP[product.scales]
    bits = product.bits
    kinds = {
        "x": (x, "m, depth", "depth, 1"),
        "codes": ("uint8_t", f"tiles, depth / 32, {bits}, 64", f"depth / 32 * {64 * bits}, {64 * bits}, 64, 1"),
        "scale": (scales, *groups),
        "offset": (scales, *groups),
        "bias": (x, "n", "1"),
        "out": (x, "m, n", "n, 1"),
    }
    kind, shape, strides = kinds[name]
    dtype = "kUInt8" if kind == "uint8_t" else _DTYPES[kind]
    const = "" if name == "out" else "const "
    return f"""\
  const int64_t {name}_shape[] = {{{shape}}}, {name}_strides[] = {{{strides}}};
  if (!kw::matches(kw::tensor(args[{position}]), kw::{dtype}, {shape.count(",") + 1}, {name}_shape, {name}_strides))
    return kw::answer(result, {position + 1});
  auto* {name} = reinterpret_cast<{const}{kind}*>(kw::data(kw::tensor(args[{position}])));"""
