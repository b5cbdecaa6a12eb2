"""Products by tables against float64, on every number of planes, without a search."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit import (
    BinaryTensor,
    LutProduct,
    Product,
    QuantTensor,
    TiledBinary,
    binary_code,
    counts_candidate,
    looks_up,
    lut_candidate,
    pack,
    round_to_nearest,
    tile,
    tile_binary,
    to_binary,
)
from kernelwright.targets import load
from kernelwright.targets.cpu import INCLUDE


def weight_of(bits: int, rows: int, columns: int, group: int, offset: bool = False) -> BinaryTensor:
    generator = torch.Generator().manual_seed(bits + rows)
    signs = torch.randint(0, 2, (bits, rows, columns), dtype=torch.uint8, generator=generator)
    alpha = torch.rand(bits, rows, columns // group, generator=generator) + 0.1
    shift = torch.randn(rows, columns // group, generator=generator) if offset else None
    return BinaryTensor(pack(signs, 1), alpha, shift, (rows, columns), group)


def run(weight: TiledBinary, x: torch.Tensor, bias: torch.Tensor | None = None, activation: str | None = None):
    product = LutProduct.of(weight, x.dtype, bias is not None, activation)
    return load(lut_candidate(product), product, {})(*product.arguments(x, weight, bias)), product


@pytest.mark.parametrize(("rows", "columns", "group"), [(1, 32, 32), (37, 192, 96), (64, 128, 128)])
@pytest.mark.parametrize("offset", [False, True])
def test_a_layout_loses_nothing(rows: int, columns: int, group: int, offset: bool) -> None:
    weight = weight_of(3, rows, columns, group, offset)
    back = tile_binary(weight).binary()
    assert torch.equal(back.planes, weight.planes)
    assert torch.equal(back.dequantize(), weight.dequantize())


@pytest.mark.parametrize(
    ("bits", "group", "offset"),
    [
        *((1, 128, False), (2, 32, True), (3, 64, False), (4, 320, True)),
        *((5, 128, True), (6, 256, False), (7, 64, True), (8, 96, False)),
    ],
)
def test_products_are_right_at_ragged_sizes(bits: int, group: int, offset: bool) -> None:
    weight = weight_of(bits, 85, 2 * group, group, offset)
    exact = weight.dequantize(torch.float64)
    size = weight.alpha.double().sum(0).repeat_interleave(group, 1)
    if weight.offset is not None:
        size = size + weight.offset.double().abs().repeat_interleave(group, 1)
    laid = tile_binary(weight)
    x = torch.randn(5, 2 * group, generator=torch.Generator().manual_seed(1))
    y, product = run(laid, x)
    error = (y.double() - x.double() @ exact.T).abs()
    assert (error <= 1e-6 * (x.double().abs() @ size.T)).all()
    wide = product(*(p.double() if p.is_floating_point() else p for p in product.arguments(x, laid, None)))
    torch.testing.assert_close(wide, x.double() @ exact.T)


def test_integers_become_planes_and_give_the_same_products() -> None:
    weight = round_to_nearest(torch.randn(40, 128, generator=torch.Generator().manual_seed(2)), "u3", 64)
    x = torch.randn(2, 128, generator=torch.Generator().manual_seed(3))
    y, _ = run(tile_binary(to_binary(weight)), x)
    torch.testing.assert_close(y, x @ weight.dequantize().T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "group", "offset"), [("u1", 32, True), ("i1", 96, False), ("u2", 128, True), ("i2", 64, False)]
)
def test_integers_of_few_bits_are_looked_up_in_their_own_tiles(kind: str, group: int, offset: bool) -> None:
    generator = torch.Generator().manual_seed(group)
    codes = torch.randint(0, 2 ** int(kind[1]), (85, 2 * group), generator=generator, dtype=torch.uint8)
    shift = torch.randn(85, 2, generator=generator) if offset else None
    weight = QuantTensor.of_codes(codes, torch.rand(85, 2, generator=generator) + 0.1, shift, kind, group)
    exact, laid = weight.dequantize(torch.float64), tile(weight)
    for rows in (1, 3, 6):
        x = torch.randn(rows, 2 * group, generator=generator)
        product = Product.of(laid, x.dtype, False, None)
        assert looks_up(product)
        y = load(counts_candidate(product), product, {})(*product.arguments(x, laid, None))
        error = (y.double() - x.double() @ exact.T).abs()
        assert (error <= 1e-6 * (x.double().abs() @ (exact.abs() + 1).T)).all()


def test_what_is_not_finite_is_not_looked_up() -> None:
    generator = torch.Generator().manual_seed(8)
    codes = torch.randint(0, 4, (40, 64), generator=generator, dtype=torch.uint8)
    laid = tile(QuantTensor.of_codes(codes, torch.ones(40, 2), None, "u2", 32))
    x = torch.randn(3, 64, generator=generator)
    x[1, 5], x[2, 7] = torch.inf, torch.nan
    product = Product.of(laid, x.dtype, True, "relu")
    kernel = load(counts_candidate(product), product, {})
    arguments = product.arguments(x, laid, torch.randn(40, generator=generator))
    torch.testing.assert_close(kernel(*arguments), product(*arguments), rtol=1e-4, atol=1e-5, equal_nan=True)
    arguments[2][0, 0, 3] = torch.inf  # a scale
    torch.testing.assert_close(kernel(*arguments), product(*arguments), rtol=1e-4, atol=1e-5, equal_nan=True)


def test_a_large_value_whose_weight_is_zero_costs_the_others_no_digits() -> None:
    generator = torch.Generator().manual_seed(9)
    codes = torch.randint(0, 4, (40, 128), generator=generator, dtype=torch.uint8)
    codes[:, 3] = 0
    weight = QuantTensor.of_codes(codes, torch.ones(40, 1), None, "u2", 128)
    x = torch.randn(2, 128, generator=generator)
    x[:, 3] = 1e4
    laid = tile(weight)
    product = Product.of(laid, x.dtype, False, None)
    y = load(counts_candidate(product), product, {})(*product.arguments(x, laid, None))
    torch.testing.assert_close(y.double(), x.double() @ weight.dequantize(torch.float64).T, rtol=0, atol=1e-3)


def test_one_plane_of_ones_is_the_product_with_signs() -> None:
    signs = torch.randn(20, 64, generator=torch.Generator().manual_seed(4)).sign()
    x = torch.randint(-50, 50, (3, 64), generator=torch.Generator().manual_seed(5)).float()
    y, _ = run(tile_binary(binary_code(signs, 1, None)), x)
    assert torch.equal(y, x @ signs.T)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_types_biases_and_activations(dtype: torch.dtype) -> None:
    laid = tile_binary(weight_of(2, 40, 128, 64, True))
    generator = torch.Generator().manual_seed(6)
    x, bias = torch.randn(6, 128, generator=generator).to(dtype), torch.randn(40, generator=generator).to(dtype)
    y, product = run(laid, x, bias, "gelu")
    assert y.dtype == dtype
    wide = product(*(p.double() if p.is_floating_point() else p for p in product.arguments(x, laid, bias)))
    torch.testing.assert_close(y.double(), wide, rtol=2 * torch.finfo(dtype).eps, atol=5e-5)


def test_infinities_nan_and_huge_values_come_out_as_the_definition_has_them() -> None:
    weight = weight_of(2, 40, 64, 32, True)
    assert weight.offset is not None
    laid = tile_binary(replace(weight, alpha=weight.alpha / 100, offset=weight.offset / 100))
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(7))
    x[1, 5], x[2, 7], x[3, 0], x[3, 1], x[4, :8] = (
        torch.inf,
        torch.nan,
        torch.inf,
        -torch.inf,
        3e38,
    )  # whose sums overflow
    x[4, 4:8] *= -1
    x[5] = 0.0
    y, product = run(laid, x)
    unit = torch.where(torch.arange(7) == 4, 3e38, 1.0)[:, None]
    want = product(*product.arguments(x, laid, None))
    torch.testing.assert_close(y / unit, want / unit, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert y[[0, 4, 6]].isfinite().all()
    assert (y[5] == 0).all()


PORTABLE = """
#include <kw/vec.h>
#include <kw/lut.h>
int main() {
  constexpr int K = 192, N = 40, M = 2;
  alignas(64) static float x[M * K], alpha[48 * 2 * 2], offset[48 * 2], out[M * N];
  alignas(64) static uint8_t codes[48 * K / 8 * 2];
  alignas(64) static char workspace[32 * K];
  unsigned seed = 1;
  auto next = [&] { return int((seed = seed * 1664525u + 1013904223u) >> 20); };
  for (auto& v : x) v = float(next() % 200 - 100);
  for (auto& v : alpha) v = float(next() % 5 + 1);
  for (auto& v : offset) v = float(next() % 5 - 2);
  for (auto& v : codes) v = uint8_t(next());
  auto same = [](kw::vf v) { return v; };
  kw::lut::product<2, 96, true>(x, codes, alpha, offset, (float*)nullptr, out, M, N, K, workspace, 1, same);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      const int tile = n / 16;
      const kw::vf want = kw::lut::plain_tile<2, 96, true>(codes + tile * K / 32 * 128, alpha + tile * 64,
                                                           offset + tile * 32, K, x + m * K);
      if (out[m * N + n] != want[n % 16]) return 1;
    }
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize("lacks", ["-mno-avx512vbmi", "-mno-avx512f"])
def test_processors_without_byte_permutations_compute_the_same(lacks: str, tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text(PORTABLE)
    flags = ["-O2", "-march=native", lacks, "-std=c++20", "-DKW_SERIAL", f"-I{INCLUDE}"]
    subprocess.run(["g++", *flags, str(tmp_path / "main.cpp"), "-o", str(tmp_path / "main")], check=True)
    assert subprocess.run([str(tmp_path / "main")]).returncode == 0


def test_what_tables_do_not_take_gets_a_sentence() -> None:
    with pytest.raises(LowBitInvalid, match="in groups of 16; tables take whole chunks of 32"):
        tile_binary(weight_of(1, 4, 32, 16))
    laid = tile_binary(weight_of(1, 4, 32, 32))
    with pytest.raises(LowBitInvalid, match="activation is 'tanh'"):
        LutProduct.of(laid, torch.float32, False, "tanh")
    with pytest.raises(LowBitInvalid, match=r"x is torch\.float64"):
        LutProduct.of(laid, torch.float64)
