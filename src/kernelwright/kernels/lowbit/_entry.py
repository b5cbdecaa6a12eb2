"""A product as a candidate: the plan of its one C entry, and the C++ that looks at arguments before it believes them.

What differs between the family's products is the header that computes them, their arguments and one call; a source
names no size, so that all layers of a model whose weights are alike share one build.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ...errors import LowBitInvalid
from ...targets.plan import WORKSPACE, Candidate, EntryCall, InputSpec, Plan, SymbolSpec, TensorSpec

MOST_ROWS = 512
"""Rows of activations in one call: more are cut into several by the operation."""

Activate = Callable[[torch.Tensor], torch.Tensor]

ACTIVATIONS: dict[str | None, tuple[Activate, str]] = {
    None: (lambda y: y, "v"),
    "relu": (torch.relu, "kw::maximum(v, kw::splat<kw::vf>(0.0f))"),
    "silu": (torch.nn.functional.silu, "v * kw::sigmoid(v)"),
    "gelu": (torch.nn.functional.gelu, "v * 0.5f * (kw::erf(v * 0.70710678f) + 1.0f)"),
}
"""What may be done to the results: in PyTorch, and for a vector of them in C++."""

CPP = {torch.float32: "float", torch.bfloat16: "kw::bf16", torch.float16: "kw::f16", torch.uint8: "uint8_t"}
_DTYPES = {"float": "kFloat32", "kw::bf16": "kBFloat16", "kw::f16": "kFloat16", "uint8_t": "kUInt8"}
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Part:
    """A dense argument: its shape in numbers (the first size may be the symbol ``m``), and as C++ counts it.

    ``counted`` may use ``m`` (rows of activations), ``n`` (rows of the weight), ``depth``, ``tiles`` and ``groups``.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int | str, ...]
    counted: tuple[str, ...]

    def spec(self) -> TensorSpec:
        """What the plan says of it."""
        strides: list[int] = []
        step = 1
        for size in reversed(self.shape):
            strides.insert(0, step)
            step *= size if isinstance(size, int) else 1
        return TensorSpec(self.name, self.shape, str(self.dtype).removeprefix("torch."), tuple(strides))


def check_floats(**dtypes: torch.dtype) -> None:
    """Raise ``LowBitInvalid`` for an argument of a type that no product takes."""
    for name, dtype in dtypes.items():
        if dtype not in _FLOATS:
            raise LowBitInvalid(f"{name} is {dtype}; products take float32, bfloat16 and float16.")


def check_activation(name: str | None) -> None:
    """Raise ``LowBitInvalid`` for a name that no activation has."""
    if name not in ACTIVATIONS:
        known = ", ".join(repr(known) for known in ACTIVATIONS)
        raise LowBitInvalid(f"activation is {name!r}, which is none of {known}.")


def product_candidate(
    title: str,
    header: str,
    parts: Sequence[Part],
    call: str,
    *,
    group_size: int,
    activation: str | None,
    workspace: int | str,
    label: str,
    before: str = "",
) -> Candidate:
    """The candidate of a product for 1 to ``MOST_ROWS`` rows of activations.

    ``parts``: the arguments in their order, ``x`` first and ``out`` last. ``call``: the C++ statement that computes it
    from pointers of their names, ``m``, ``n``, ``depth``, ``workspace`` and ``activation``. ``before``: what the
    call needs outside of a function.
    """
    specs = [part.spec() for part in parts]
    plan = Plan(
        inputs=tuple(InputSpec(("arg", position), spec) for position, spec in enumerate(specs[:-1])),
        buffers=(specs[-1],),
        steps=(EntryCall("product", (*(spec.name for spec in specs), WORKSPACE)),),
        results=(specs[-1].name,),
        symbols=(SymbolSpec("m", 0, 0, 1, MOST_ROWS),),
        workspace=workspace,
    )
    checks = "\n".join(_check(part, position) for position, part in enumerate(parts))
    source = f"""\
// {title}, by kernelwright
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/{header}>
{before}
extern "C" KW_EXPORT int __tvm_ffi_product(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {{
  if (count != {len(parts) + 1}) return kw::answer(result, {len(parts) + 2});
  const kw::Tensor *first = kw::tensor(args[0]), *last = kw::tensor(args[{len(parts) - 1}]);
  if (!first || first->ndim != 2) return kw::answer(result, 1);
  if (!last || last->ndim != 2) return kw::answer(result, {len(parts)});
  const int64_t m = first->shape[0], depth = first->shape[1], n = last->shape[1];
  const int64_t tiles = kw::ceil_div(n, kw::lowbit::ROWS), groups = depth / {group_size};
  if (m < 1 || m > {MOST_ROWS} || depth % {group_size}) return kw::answer(result, 1);
{checks}
  char* workspace = kw::data(kw::tensor(args[{len(parts)}]));
  auto activation = [](kw::vf v) {{ return {ACTIVATIONS[activation][1]}; }};
  {call}
  return kw::answer(result, 0);
}}
"""
    return Candidate("cpu", "kernels/lowbit", source, plan, label=label)


def _check(part: Part, position: int) -> str:
    """The lines that look at an argument and give it its C name."""
    name, kind = part.name, CPP[part.dtype]
    strides = [" * ".join(f"({size})" for size in part.counted[at + 1 :]) or "1" for at in range(len(part.counted))]
    const = "" if name == "out" else "const "
    return f"""\
  const int64_t {name}_shape[] = {{{", ".join(part.counted)}}}, {name}_strides[] = {{{", ".join(strides)}}};
  if (!kw::matches(kw::tensor(args[{position}]), kw::{_DTYPES[kind]}, {len(strides)}, {name}_shape, {name}_strides))
    return kw::answer(result, {position + 1});
  auto* {name} = reinterpret_cast<{const}{kind}*>(kw::data(kw::tensor(args[{position}])));"""
