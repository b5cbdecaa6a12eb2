"""Products of small floats, and of groups smaller than a chunk: every type through one template, against float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kernelwright.kernels.lowbit import Product, QuantTensor, all_types, dt, round_to_nearest, tile
from kernelwright.kernels.lowbit._product import candidate
from kernelwright.ops import prepare
from kernelwright.targets import load

FLOATS = [kind.name for kind in all_types() if kind.kind == "float"]
LEVELS = {"e1m1", "e1m2", "e1m3", "e2m1", "e2m2", "e2m3", "e2m4"}  # an integer of 8 bits times a unit


@pytest.fixture(scope="module")
def kernels() -> dict[Product, object]:
    return {}


def run(kernels: dict, product: Product, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
    if product not in kernels:
        kernels[product] = load(candidate(product), product, {})
    return kernels[product](*arguments)


def all_codes(kind: str, rows: int, columns: int, group: int, seed: int = 0) -> QuantTensor:
    """Every finite code many times."""
    generator = torch.Generator().manual_seed(seed)
    finite = dt(kind).values().isfinite().nonzero()[:, 0].to(torch.uint8)
    codes = finite[torch.randint(0, len(finite), (rows, columns), generator=generator)]
    return QuantTensor.of_codes(codes, torch.rand(rows, columns // group, generator=generator) + 0.5, None, kind, group)


@pytest.mark.parametrize("kind", FLOATS)
def test_integer_levels_are_found_where_they_are(kind: str) -> None:
    product = Product.of(tile(all_codes(kind, 16, 32, 32)), torch.float32, False, None)
    assert ("LEVELS = true" in candidate(product).source) == (kind in LEVELS)


@pytest.mark.parametrize(
    ("kind", "group"),
    [(kind, 32) for kind in FLOATS if kind not in ("e1m1", "e1m2", "e1m3", "e4m2", "e3m3")]
    + [("e3m2", 96), ("e2m1", 16), ("i8", 8), ("e5m2", 4)],
)
def test_products_are_right_at_ragged_sizes(kind: str, group: int, kernels: dict) -> None:
    columns = 96 if 96 % group == 0 else 2 * group
    weight = all_codes(kind, 53, columns, group)
    exact = weight.dequantize(torch.float64)
    laid = tile(weight)
    product = Product.of(laid, torch.float32, False, None)
    generator = torch.Generator().manual_seed(1)
    for rows in (1, 3, 9):
        x = torch.randn(rows, columns, generator=generator)
        error = (run(kernels, product, product.arguments(x, laid, None)).double() - x.double() @ exact.T).abs()
        assert (error <= 6e-7 * (x.abs().double() @ exact.abs().T)).all()


@pytest.mark.parametrize(
    ("kind", "group", "dtype"), [("e4m3", 64, torch.bfloat16), ("e2m1", 64, torch.float16), ("i6", 16, torch.bfloat16)]
)
def test_offsets_biases_and_narrow_activations(kind: str, group: int, dtype: torch.dtype, kernels: dict) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = all_codes(kind, 40, 128, group)
    small = weight.scale.half() / dt(kind).max
    weight = replace(weight, scale=small, offset=torch.randn(small.shape, generator=generator).half())
    laid = tile(weight)
    product = Product.of(laid, dtype, True, "silu")
    x = torch.randn(6, 128, generator=generator).to(dtype)
    arguments = product.arguments(x, laid, torch.randn(40, generator=generator).to(dtype))
    y = run(kernels, product, arguments)
    assert y.dtype == dtype
    wide = product(*(part.double() if part.is_floating_point() else part for part in arguments))
    torch.testing.assert_close(y.double(), wide, rtol=2 * torch.finfo(dtype).eps, atol=5e-5)


@pytest.mark.parametrize("kind", ["e4m3", "e5m2", "e5m1"])
def test_weights_that_are_not_finite_come_out_as_the_reference_has_them(kind: str, kernels: dict) -> None:
    weight = all_codes(kind, 48, 64, 32)
    codes = weight.codes()
    for row, code in enumerate((~dt(kind).values().isfinite()).nonzero()[:, 0].tolist()):
        codes[2 * row, row] = code
    laid = tile(QuantTensor.of_codes(codes, weight.scale, None, kind, 32))
    product = Product.of(laid, torch.float32, False, None)
    arguments = product.arguments(torch.randn(5, 64, generator=torch.Generator().manual_seed(3)), laid, None)
    y = run(kernels, product, arguments)
    torch.testing.assert_close(y, product(*arguments), rtol=1e-4, atol=1e-2, equal_nan=True)
    assert not y.isfinite().all()
    assert y.isfinite().any()


@pytest.mark.parametrize("kind", ["e2m1", "e4m3"])
def test_activations_that_are_not_finite_or_vast(kind: str, kernels: dict) -> None:
    weight = all_codes(kind, 32, 64, 32)
    weight = replace(weight, offset=torch.randn(weight.scale.shape, generator=torch.Generator().manual_seed(4)))
    laid = tile(weight)
    product = Product.of(laid, torch.float32, False, None)
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(5))
    x[1, 5], x[2, 7], x[3, 0], x[3, 1], x[4] = torch.inf, torch.nan, torch.inf, -torch.inf, 0.0
    x[5] *= 1e35
    arguments = product.arguments(x, laid, None)
    y = run(kernels, product, arguments)
    torch.testing.assert_close(y, product(*arguments), rtol=1e-4, atol=1e-2, equal_nan=True)
    assert (y[4] == 0).all()


@pytest.mark.parametrize("factor", [1e-38, 1e-20, 1e30])
@pytest.mark.parametrize("kind", ["e5m2", "e3m2"])
def test_values_of_any_size(kind: str, factor: float, kernels: dict) -> None:
    weight = all_codes(kind, 32, 64, 32)
    laid = tile(replace(weight, scale=weight.scale / dt(kind).max))
    product = Product.of(laid, torch.float32, False, None)
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(6))
    y = run(kernels, product, product.arguments(x * factor, laid, None))
    exact = (x * factor).double() @ laid.quantized().dequantize(torch.float64).T
    torch.testing.assert_close(y.double() / factor, exact / factor, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["e4m3", "e5m2", "e5m1"])
def test_what_a_judge_draws_leaves_something_to_compare(kind: str) -> None:
    product = Product(kind, 64, 64, 256)
    x, codes, scale = product.example(4)
    assert product(x, codes, scale).isfinite().all()
    shuffled = codes.view(-1)[torch.randperm(codes.numel(), generator=torch.Generator().manual_seed(7))].view_as(codes)
    assert product(x, shuffled, scale).isfinite().all()


def test_the_judge_accepts_a_small_float(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
    laid = tile(round_to_nearest(torch.randn(48, 128, generator=torch.Generator().manual_seed(8)), "e4m3", 32))
    outcome = prepare(Product.of(laid, torch.float32, False, None)).outcome
    verdicts = {trial.candidate.label: trial.verdict for trial in outcome.candidates}
    assert verdicts["lowbit"].accepted, verdicts["lowbit"].reason
