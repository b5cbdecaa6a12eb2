"""The layout for processors, and the generated product against float64 on every width, without a search."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit import Product, QuantTensor, TiledWeight, round_to_nearest, tile, untiled
from kernelwright.kernels.lowbit._product import candidate
from kernelwright.targets import load

INTEGERS = [f"{sign}{bits}" for sign in "ui" for bits in range(1, 9) if (sign, bits) != ("i", 1)]


def weight_of(kind: str, rows: int, columns: int, group: int, seed: int = 0) -> QuantTensor:
    generator = torch.Generator().manual_seed(seed)
    return round_to_nearest(torch.randn(rows, columns, generator=generator), kind, group)


@pytest.mark.parametrize("kind", [*INTEGERS, "e2m1", "e3m2", "e4m2", "e5m2"])
@pytest.mark.parametrize(("rows", "columns", "group"), [(1, 32, 32), (16, 64, 8), (37, 192, 96)])
def test_a_layout_loses_nothing(kind: str, rows: int, columns: int, group: int) -> None:
    weight = weight_of(kind, rows, columns, group)
    laid = tile(weight)
    assert laid.codes.numel() == -(-rows // 16) * 16 * columns * weight.kind.bits // 8
    turned = 2 ** (weight.kind.bits - 1) if kind.startswith("i") else 0
    assert torch.equal(untiled(laid.codes, weight.kind.bits)[:rows] ^ turned, weight.codes())
    back = laid.quantized()
    assert torch.equal(back.packed, weight.packed)
    assert torch.equal(back.dequantize(), weight.dequantize())


def test_what_tiles_do_not_hold_gets_a_sentence() -> None:
    with pytest.raises(LowBitInvalid, match="the weight is e2m1 in 48 columns and groups of 16; tiles hold"):
        tile(weight_of("e2m1", 4, 48, 16))
    with pytest.raises(LowBitInvalid, match=r"groups of 2; .* or of 4, 8 or 16"):
        tile(weight_of("u4", 4, 32, 2))
    signs = QuantTensor.of_codes(torch.zeros(4, 32, dtype=torch.uint8), torch.ones(4, 1), kind="sign")
    with pytest.raises(LowBitInvalid, match="the weight is sign"):
        tile(signs)


@pytest.fixture(scope="module")
def kernels() -> dict[Product, object]:
    return {}


def run(kernels: dict, product: Product, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
    if product not in kernels:
        kernels[product] = load(candidate(product), product, {})
    return kernels[product](*arguments)


@pytest.mark.parametrize(
    ("kind", "group"),
    [("u4", 128), ("u4", 32), ("u3", 64), ("i4", 96), ("i8", 128), ("u2", 256), ("u7", 32), ("i5", 64), ("u6", 32)],
)
def test_products_are_right_at_ragged_sizes(kind: str, group: int, kernels: dict) -> None:
    generator = torch.Generator().manual_seed(1)
    columns = 2 * group
    weight = weight_of(kind, 53, columns, group)
    exact_weight = weight.dequantize(torch.float64)
    parts = exact_weight.abs()  # what is added up: where there is an offset, it and what the codes stand for
    if weight.offset is not None:
        offset = weight.offset.double().repeat_interleave(group, 1)
        parts = offset.abs() + (exact_weight - offset).abs()
    laid = tile(weight)
    product = Product.of(laid, torch.float32, False, None)
    for rows in (1, 2, 3, 4, 5, 9):
        x = torch.randn(rows, columns, generator=generator)
        x[0, 3] = 1e4  # one outlier among small values: the case for a fourth digit
        arguments = product.arguments(x, laid, None)
        y = run(kernels, product, arguments)
        error = (y.double() - x.double() @ exact_weight.T).abs()
        assert (error <= 6e-7 * (x.abs().double() @ parts.T)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("activation", [None, "relu", "silu", "gelu"])
def test_types_biases_and_activations(dtype: torch.dtype, activation: str | None, kernels: dict) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = weight_of("u4", 40, 128, 64)
    weight = replace(weight, scale=weight.scale.half(), offset=weight.offset.half())
    laid = tile(weight)
    product = Product.of(laid, dtype, True, activation)
    x = torch.randn(6, 128, generator=generator).to(dtype)
    bias = torch.randn(40, generator=generator).to(dtype)
    arguments = product.arguments(x, laid, bias)
    y = run(kernels, product, arguments)
    assert y.dtype == dtype
    wide = product(*(part.double() if part.is_floating_point() else part for part in arguments))
    torch.testing.assert_close(y.double(), wide, rtol=2 * torch.finfo(dtype).eps, atol=5e-5)


def test_infinities_and_nan_come_out_as_the_definition_has_them(kernels: dict) -> None:
    weight = weight_of("u4", 32, 64, 32)
    laid = tile(weight)
    product = Product.of(laid, torch.float32, False, None)
    x = torch.randn(6, 64, generator=torch.Generator().manual_seed(3))
    x[1, 5], x[2, 7], x[3, 0], x[3, 1] = torch.inf, torch.nan, torch.inf, -torch.inf
    x[4] = 0.0
    arguments = product.arguments(x, laid, None)
    y = run(kernels, product, arguments)
    torch.testing.assert_close(y, product(*arguments), rtol=1e-4, atol=1e-4, equal_nan=True)
    assert (y[4] == 0).all()


@pytest.mark.parametrize("factor", [1e-38, 1e-25, 1e-12, 1e12, 1e30])
def test_values_of_any_size(factor: float, kernels: dict) -> None:
    laid = tile(weight_of("i4", 32, 64, 64))
    product = Product.of(laid, torch.float32, False, None)
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(4))
    small = run(kernels, product, product.arguments(x * factor, laid, None))
    exact = (x * factor).double() @ laid.quantized().dequantize(torch.float64).T
    torch.testing.assert_close(small.double() / factor, exact / factor, rtol=1e-5, atol=2e-5)


def test_a_product_says_what_it_does_not_take() -> None:
    laid: TiledWeight = tile(weight_of("u4", 16, 32, 32))
    with pytest.raises(LowBitInvalid, match="activation is 'tanh', which is none of None, 'relu'"):
        Product.of(laid, torch.float32, False, "tanh")
    with pytest.raises(LowBitInvalid, match=r"x is torch\.float64"):
        Product.of(laid, torch.float64, False, None)
