"""Products with low-bit weights: the one way in for users, whatever the type, the sizes and the machine."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Any

import torch

from ..archive import Archive
from ..errors import LowBitInvalid
from ..kernels import SingleProposer
from ..kernels.lowbit import (
    ACTIVATIONS,
    MOST_ROWS,
    Product,
    QuantTensor,
    TiledWeight,
    candidate,
    check_activation,
    tile,
    tileable,
)
from ..search import Effort, Kernel, find
from ..task import DynamicSize, from_callable

log = logging.getLogger("kernelwright")

_BUDGET = 60.0  # seconds for a product that this machine has not seen yet
_EFFORT = Effort(0, 1, 0.3, 0.7, ())  # one candidate beside dequantising; compiling that would take longer than judging
_EXAMPLE_ROWS = 4
_kernels: dict[Product, Kernel] = {}
_lock = threading.Lock()


def lowbit_matmul(
    x: torch.Tensor,
    qweight: QuantTensor | TiledWeight,
    bias: torch.Tensor | None = None,
    activation: str | None = None,
) -> torch.Tensor:
    """``activation(x @ qweight.T + bias)``: x ``[..., K]``, result ``[..., N]``, both float32, bfloat16 or float16.

    ``activation``: None, "relu", "silu" or "gelu". A :class:`TiledWeight` (``kernels.lowbit.tile``) is used as it is,
    a :class:`QuantTensor` is laid out anew in each call. The kernel comes from the archive; the first product of its
    kind on a machine is searched for and judged, which takes some seconds. Gradients flow to ``x`` and ``bias``.

    Types that tiles do not hold (small floats, groups that are no multiples of 32) are dequantised and multiplied by
    PyTorch. Raises ``LowBitInvalid`` when the arguments do not fit.

    >>> from kernelwright.kernels.lowbit import round_to_nearest, tile
    >>> weight = torch.randn(32, 64)
    >>> y = lowbit_matmul(torch.randn(2, 64), tile(round_to_nearest(weight, "u4", 32)))
    >>> y.shape
    torch.Size([2, 32])
    """
    _check(x, qweight, bias)
    check_activation(activation)
    if isinstance(qweight, QuantTensor) and not tileable(qweight):
        return _dequantised(x, qweight, bias, activation)
    weight = qweight if isinstance(qweight, TiledWeight) else tile(qweight)
    product = Product.of(weight, x.dtype, bias is not None, activation)
    flat = x.reshape(-1, x.shape[-1]).contiguous()
    arguments = product.arguments(flat, weight, bias)
    if torch.is_grad_enabled() and any(part.requires_grad for part in arguments if part.is_floating_point()):
        y = _Differentiable.apply(product, *arguments)
    else:
        y = _run(product, arguments)
    return y.reshape(*x.shape[:-1], product.rows)


def prepare(product: Product) -> Kernel:
    """The kernel of a product: from this process, from the archive, or searched for now."""
    with _lock:
        if product not in _kernels:
            _kernels[product] = _search(product)
        return _kernels[product]


def _search(product: Product) -> Kernel:
    example = _example(product)
    name = f"lowbit_{product.bits}bit_{product.rows}x{product.columns}"
    task = from_callable(product, example, name=name, dynamic=(DynamicSize(0, 0, 1, MOST_ROWS),))
    task = replace(task, key=repr(product))  # what is pickled differs from process to process
    with Archive(None) as archive:
        outcome = find(task, lambda: SingleProposer(candidate(product)), _EFFORT, _BUDGET, archive=archive)
    log.info("%s: %s", name, outcome.reason or outcome.status)
    return Kernel(outcome, product, {})


def _example(product: Product) -> tuple[torch.Tensor, ...]:
    """Inputs of the right shapes whose values do not matter: the judge draws its own."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 2**product.bits, (product.rows, product.columns), generator=generator, dtype=torch.uint8)
    groups = (product.rows, product.columns // product.group_size)
    scale = torch.rand(groups, generator=generator).add(0.5).to(product.scales)
    offset = torch.randn(groups, generator=generator).to(product.scales) if product.has_offset else None
    kind = f"{'i' if product.zero else 'u'}{product.bits}"
    weight = tile(QuantTensor.of_codes(codes, scale, offset, kind, product.group_size))
    x = torch.randn(_EXAMPLE_ROWS, product.columns, generator=generator).to(product.dtype)
    bias = torch.randn(product.rows, generator=generator).to(product.dtype) if product.has_bias else None
    return product.arguments(x, weight, bias)


def _run(product: Product, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
    x, *weight = arguments
    if x.shape[0] == 0:
        return x.new_empty(0, product.rows)
    kernel = prepare(product)
    with torch.no_grad():
        parts = [kernel(x[at : at + MOST_ROWS], *weight) for at in range(0, x.shape[0], MOST_ROWS)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Differentiable(torch.autograd.Function):
    """The kernel forward; backward the reference's own gradients, in whatever asks for them."""

    @staticmethod
    def forward(ctx: Any, product: Product, *arguments: torch.Tensor) -> torch.Tensor:
        ctx.product = product
        ctx.save_for_backward(*arguments)
        return _run(product, arguments)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        arguments = [part.detach() for part in ctx.saved_tensors]
        wanted = [position for position in range(len(arguments)) if ctx.needs_input_grad[position + 1]]
        with torch.enable_grad():
            leaves = [arguments[position].requires_grad_() for position in wanted]
            made = torch.autograd.grad(ctx.product(*arguments), leaves, gradients[0])
        found = dict(zip(wanted, made, strict=True))
        return (None, *(found.get(position) for position in range(len(arguments))))


def _dequantised(
    x: torch.Tensor, weight: QuantTensor, bias: torch.Tensor | None, activation: str | None
) -> torch.Tensor:
    wide = torch.nn.functional.linear(x.float(), weight.dequantize(), None if bias is None else bias.float())
    return ACTIVATIONS[activation][0](wide).to(x.dtype)


def _check(x: torch.Tensor, qweight: object, bias: torch.Tensor | None) -> None:
    if not isinstance(qweight, QuantTensor | TiledWeight):
        raise LowBitInvalid(f"qweight is a {type(qweight).__name__}; it is a QuantTensor or a TiledWeight.")
    rows, columns = qweight.shape
    if not x.ndim or x.shape[-1] != columns:
        raise LowBitInvalid(f"x has shape {tuple(x.shape)}; its last axis must be the weight's {columns} inputs.")
    if bias is not None and (tuple(bias.shape) != (rows,) or bias.dtype != x.dtype):
        raise LowBitInvalid(f"bias is {bias.dtype} of shape {tuple(bias.shape)}; it must be {x.dtype} of {(rows,)}.")
