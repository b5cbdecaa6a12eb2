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
    BinaryTensor,
    LutProduct,
    Product,
    QuantTensor,
    TiledBinary,
    TiledWeight,
    candidate,
    check_activation,
    check_floats,
    counts_candidate,
    looks_up,
    lut_candidate,
    tile,
    tile_binary,
    tileable,
    tileable_binary,
    to_binary,
)
from ..search import Effort, Kernel, find
from ..targets.plan import Candidate
from ..task import DynamicSize, from_callable

log = logging.getLogger("kernelwright")

LowBitWeight = QuantTensor | TiledWeight | BinaryTensor | TiledBinary
"""What products are computed with: of integers or small floats, or of sign planes; as it is stored, or laid out."""

_BUDGET = 60.0  # seconds for a product that this machine has not seen yet
_EFFORT = Effort(0, 2, 0.3, 0.7, ())  # at most two beside dequantising; compiling that would take longer than judging
_EXAMPLE_ROWS = 1  # what decoding asks for decides between candidates; they are verified at all sizes
_kernels: dict[Product | LutProduct, Kernel] = {}
_told: set[str] = set()
_lock = threading.Lock()


def lowbit_matmul(
    x: torch.Tensor,
    qweight: LowBitWeight,
    bias: torch.Tensor | None = None,
    activation: str | None = None,
) -> torch.Tensor:
    """``activation(x @ qweight.T + bias)``: x ``[..., K]``, result ``[..., N]``, both float32, bfloat16 or float16.

    ``activation``: None, "relu", "silu" or "gelu". What was laid out (``kernels.lowbit.tile``, ``tile_binary``) is used
    as it is, a :class:`QuantTensor` or :class:`BinaryTensor` is laid out anew in each call. The kernel comes from the
    archive; the first product of its kind on a machine is searched for and judged, which takes some seconds. Gradients
    flow to ``x`` and ``bias``.

    What tiles do not hold (small floats, groups that are no multiples of 32) is dequantised and multiplied by PyTorch,
    and the log says so. Raises ``LowBitInvalid`` when the arguments do not fit.

    >>> from kernelwright.kernels.lowbit import round_to_nearest, tile
    >>> weight = torch.randn(32, 64)
    >>> y = lowbit_matmul(torch.randn(2, 64), tile(round_to_nearest(weight, "u4", 32)))
    >>> y.shape
    torch.Size([2, 32])
    """
    _check(x, qweight, bias)
    check_activation(activation)
    weight = _laid_out(qweight)
    if isinstance(weight, QuantTensor | BinaryTensor):
        return _dequantised(x, weight, bias, activation)
    product = product_of(weight, x.dtype, bias is not None, activation)
    flat = x.reshape(-1, x.shape[-1]).contiguous()
    arguments = product.arguments(flat, weight, bias)  # type: ignore[arg-type]  # product_of pairs them
    if torch.is_grad_enabled() and any(part.requires_grad for part in arguments if part.is_floating_point()):
        y = _Differentiable.apply(product, *arguments)
    else:
        y = _run(product, arguments)
    return y.reshape(*x.shape[:-1], product.rows)


def product_of(
    weight: TiledWeight | TiledBinary, dtype: torch.dtype, has_bias: bool, activation: str | None
) -> Product | LutProduct:
    """The task of a product: what :func:`prepare` takes."""
    if isinstance(weight, TiledBinary):
        return LutProduct.of(weight, dtype, has_bias, activation)
    return Product.of(weight, dtype, has_bias, activation)


def prepare(product: Product | LutProduct) -> Kernel:
    """The kernel of a product: from this process, from the archive, or searched for now."""
    with _lock:
        if product not in _kernels:
            _kernels[product] = _search(product)
        return _kernels[product]


def _laid_out(weight: LowBitWeight) -> LowBitWeight:
    """The weight in tiles, or as it is where tiles do not hold it."""
    if isinstance(weight, QuantTensor) and weight.kind.kind == "sign":
        weight = to_binary(weight)
    if isinstance(weight, QuantTensor) and tileable(weight):
        return tile(weight)
    if isinstance(weight, BinaryTensor) and tileable_binary(weight):
        return tile_binary(weight)
    return weight


def _search(product: Product | LutProduct) -> Kernel:
    kind = f"{product.bits}planes" if isinstance(product, LutProduct) else product.kind
    name = f"lowbit_{kind}_{product.rows}x{product.columns}"
    dynamic = (DynamicSize(0, 0, 1, MOST_ROWS),)
    task = from_callable(product, product.example(_EXAMPLE_ROWS), name=name, dynamic=dynamic)
    task = replace(task, key=repr(product))  # what is pickled differs from process to process
    with Archive(None) as archive:
        outcome = find(task, lambda: SingleProposer(*_candidates(product)), _EFFORT, _BUDGET, archive=archive)
    log.info("%s: %s", name, outcome.reason or outcome.status)
    return Kernel(outcome, product, {})


def _candidates(product: Product | LutProduct) -> list[Candidate]:
    if isinstance(product, LutProduct):
        return [lut_candidate(product)]
    return [candidate(product), *([counts_candidate(product)] if looks_up(product) else [])]


def _run(product: Product | LutProduct, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
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
    def forward(ctx: Any, product: Product | LutProduct, *arguments: torch.Tensor) -> torch.Tensor:
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
    x: torch.Tensor, weight: QuantTensor | BinaryTensor, bias: torch.Tensor | None, activation: str | None
) -> torch.Tensor:
    kind = weight.kind.name if isinstance(weight, QuantTensor) else f"{weight.bits} sign planes"
    reason = f"{kind} in groups of {weight.group_size}"
    if reason not in _told:
        _told.add(reason)
        log.warning("lowbit_matmul: there are no tiles for %s; PyTorch multiplies with the dequantised weight.", reason)
    wide = torch.nn.functional.linear(x.float(), weight.dequantize(), None if bias is None else bias.float())
    return ACTIVATIONS[activation][0](wide).to(x.dtype)


def _check(x: torch.Tensor, qweight: object, bias: torch.Tensor | None) -> None:
    if not isinstance(qweight, LowBitWeight):
        known = "a QuantTensor, a TiledWeight, a BinaryTensor or a TiledBinary"
        raise LowBitInvalid(f"qweight is a {type(qweight).__name__}; it is {known}.")
    rows, columns = qweight.shape
    check_floats(x=x.dtype)
    if not x.ndim or x.shape[-1] != columns:
        raise LowBitInvalid(f"x has shape {tuple(x.shape)}; its last axis must be the weight's {columns} inputs.")
    if bias is not None and (tuple(bias.shape) != (rows,) or bias.dtype != x.dtype):
        raise LowBitInvalid(f"bias is {bias.dtype} of shape {tuple(bias.shape)}; it must be {x.dtype} of {(rows,)}.")
