"""The bound of an element: honest arithmetic in any order passes, missing terms and truncated precision do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from kernelwright.judge._bounds import Comparison, expect
from kernelwright.judge._reference import Runner
from kernelwright.judge._truth import Truths
from kernelwright.task import Reference

Call = Callable[..., Any]


def judged(call: Call, args: tuple[Any, ...], wrong: Call) -> Comparison:
    """What the oracle says about ``wrong``'s output where ``call`` is the reference."""
    truths = Truths(Runner(Reference(call, lambda seed, structure: args, {})), "bounds")
    return truths.compare(truths.find(args, measure_length=True), 0, wrong(*args))


def matmul_inputs(k: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(k)
    return torch.randn(33, k, dtype=dtype), torch.randn(k, 47, dtype=dtype), torch.randn(47, dtype=dtype)


def linear(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.relu(x @ w + b)


def sequential(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """One float32 accumulator for each element, summed in order: the least careful honest kernel."""
    total = torch.zeros(x.shape[0], w.shape[1])
    for k in range(x.shape[1]):
        total += x[:, k : k + 1] * w[k]
    return torch.relu(total + b)


def tf32(x: torch.Tensor) -> torch.Tensor:
    return (x.view(torch.int32) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("k", [8, 256, 4096])
@pytest.mark.parametrize(
    "honest",
    [
        linear,
        sequential,
        lambda x, w, b: linear(x.double(), w.double(), b.double()).float(),  # compensated
        lambda x, w, b: torch.relu(x.flip(1) @ w.flip(0) + b),  # reordered
        lambda x, w, b: torch.relu(torch.addmm(b, x, w)),  # the bias first
    ],
)
def test_honest_matmul_passes(k: int, honest: Call) -> None:
    result = judged(linear, matmul_inputs(k), honest)
    assert result.error <= 1.0
    assert result.compared == 33 * 47


@pytest.mark.parametrize("k", [8, 256, 4096])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, w, b: torch.relu(x @ w),  # the bias dropped
        lambda x, w, b: torch.relu(x[:, :-1] @ w[:-1] + b),  # a summand missing
        lambda x, w, b: torch.relu(tf32(x) @ tf32(w) + b),
        lambda x, w, b: torch.relu((x.bfloat16() @ w.bfloat16()).float() + b),
        lambda x, w, b: x @ w + b,  # no relu
        lambda x, w, b: torch.zeros(33, 47),
    ],
)
def test_wrong_matmul_fails(k: int, wrong: Call) -> None:
    result = judged(linear, matmul_inputs(k), wrong)
    assert not result.error <= 1.0
    assert result.category == "value"


@pytest.mark.parametrize("n", [100, 10_000, 1_000_000])
def test_sums_of_any_length(n: int) -> None:
    torch.manual_seed(n)
    args = (torch.randn(4, n),)

    def total(x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1)

    def lanes(x: torch.Tensor) -> torch.Tensor:
        """16 float32 accumulators, each sequential."""
        return torch.cumsum(x[:, : n // 16 * 16].view(4, -1, 16), 1)[:, -1].sum(-1) + x[:, n // 16 * 16 :].sum(-1)

    assert judged(total, args, lanes).error <= 1.0
    assert judged(total, args, lambda x: x.double().sum(-1).float()).error <= 1.0
    assert judged(total, args, lambda x: x[:, :-1].sum(-1)).error > 1.0
    assert judged(total, args, lambda x: x[:, 1:].sum(-1)).error > 1.0


@pytest.mark.parametrize("n", [1000, 65_536])
def test_one_missing_summand_of_a_positive_mean(n: int) -> None:
    torch.manual_seed(n)
    args = (torch.rand(64, n),)
    missing = judged(lambda x: x.mean(-1), args, lambda x: x[:, :-1].sum(-1) / n)
    assert missing.error > 1.0
    assert judged(lambda x: x.mean(-1), args, lambda x: x.flip(-1).sum(-1) / n).error <= 1.0


@pytest.mark.parametrize(
    ("call", "honest", "wrong"),
    [
        (lambda x: torch.softmax(x, -1), lambda x: x.exp() / x.exp().sum(-1, True),
         lambda x: torch.softmax(x[:, :-1], -1)),
        (lambda x: torch.nn.functional.gelu(x), lambda x: 0.5 * x * (1 + torch.erf(x * 2**-0.5)),
         lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
        (lambda x: torch.nn.functional.layer_norm(x, (x.shape[-1],)),
         lambda x: (x - x.mean(-1, True)) * (((x - x.mean(-1, True)) ** 2).mean(-1, True) + 1e-5).rsqrt(),
         lambda x: (x - x.mean(-1, True)) * (((x - x.mean(-1, True)) ** 2).mean(-1, True) + 1e-4).rsqrt()),
        (lambda x: torch.logsumexp(x, -1), lambda x: x.amax(-1) + (x - x.amax(-1, True)).exp().sum(-1).log(),
         lambda x: torch.logsumexp(x[:, 1:], -1)),
        (lambda x: torch.cumsum(x, -1), lambda x: x.double().cumsum(-1).float(),
         lambda x: torch.cumsum(x.bfloat16(), -1).float()),
        (lambda x: torch.tanh(x), lambda x: 1 - 2 / (torch.exp(2 * x.double()).float() + 1),
         lambda x: torch.tanh(x.half()).float()),
    ],
)  # fmt: skip
def test_functions(call: Call, honest: Call, wrong: Call) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 300) * 2
    assert judged(call, (x,), call).error <= 1.0
    assert judged(call, (x,), honest).error <= 1.0
    bad = wrong(x)
    if bad.shape != call(x).shape:
        bad = torch.nn.functional.pad(bad, (0, 300 - bad.shape[-1]))
    assert judged(call, (x,), lambda x: bad).error > 1.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_tolerate_rounding_of_results_only(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x, w = torch.randn(32, 512, dtype=dtype), torch.randn(512, 48, dtype=dtype)

    def reference(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(x @ w)

    def fused(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(x.float() @ w.float()).to(dtype)

    def half_accumulator(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(32, 48, dtype=dtype)
        for k in range(512):
            total = total + x[:, k : k + 1] * w[k]
        return torch.nn.functional.silu(total)

    assert judged(reference, (x, w), fused).error <= 1.0
    assert judged(reference, (x, w), reference).error <= 1.0
    assert judged(reference, (x, w), half_accumulator).error > 1.0
    assert judged(reference, (x, w), lambda x, w: reference(x[:, 1:], w[1:])).error > 1.0


def test_float64_is_judged_as_float64() -> None:
    torch.manual_seed(2)
    x, w, b = matmul_inputs(128, torch.float64)
    assert judged(linear, (x, w, b), lambda x, w, b: torch.relu(x.flip(1) @ w.flip(0) + b)).error <= 1.0
    assert judged(linear, (x, w, b), lambda x, w, b: linear(x.float(), w.float(), b.float()).double()).error > 1.0


def test_nan_and_infinity_must_stand_where_they_belong() -> None:
    x = torch.tensor([1.0, math.nan, math.inf, -math.inf, 0.0] * 4)

    def at(position: int, value: float) -> Comparison:
        def wrong(x: torch.Tensor) -> torch.Tensor:
            y = x * 2
            y[position] = value
            return y

        return judged(lambda x: x * 2, (x,), wrong)

    assert judged(lambda x: x * 2, (x,), lambda x: x + x).error == 0.0
    assert at(0, math.nan).category == "nan"
    assert at(1, 0.0).category == "nan"
    assert at(2, -math.inf).category == "nan"
    assert at(3, -3e38).category == "nan"
    assert at(4, 1e-3).category == "value"


def test_overflow_of_the_reference_is_forgiven_on_both_sides() -> None:
    x = torch.tensor([1e30, 2.0] * 16)

    def naive(x: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(x * x)  # inf in float32, 1e30 in float64

    assert judged(naive, (x,), naive).error <= 1.0
    assert judged(naive, (x,), torch.abs).error <= 1.0
    assert judged(naive, (x,), lambda x: torch.full_like(x, 3.0)).error > 1.0


def test_integers_are_exact_and_ties_free() -> None:
    torch.manual_seed(3)
    x = torch.randn(50, 20)
    assert judged(lambda x: x.argmax(-1), (x,), lambda x: x.argmax(-1)).error == 0.0
    assert judged(lambda x: x.argmax(-1), (x,), lambda x: (x.argmax(-1) + 1) % 20).category == "value"
    tied = torch.ones(8, 5)
    last = judged(lambda x: x.argmax(-1), (tied,), lambda x: torch.full((8,), 4))
    assert last.error == 0.0
    assert judged(lambda x: x > 0, (x,), lambda x: x >= 0.1).category == "value"


def test_the_bound_grows_where_the_problem_is_ill_conditioned_and_only_there() -> None:
    exact = torch.tensor([1.0, 1.0] * 32, dtype=torch.float64)
    noisy = exact.clone()
    noisy[:16] += 1e-4
    expected = expect(exact, exact.float(), [noisy], 1)
    assert expected.bound is not None
    assert float(expected.bound[0]) > 1e-4
    assert float(expected.bound[40]) < 2e-6


def test_empty_outputs_compare_nothing() -> None:
    assert judged(lambda x: x[:0], (torch.ones(3),), lambda x: x[:0]).compared == 0


def peaked(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.softmax(torch.relu(x) * scale - x.square(), -1)


def peaked_by_hand(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    z = torch.addcmul(-x.clamp_min(0) * scale, x, x).neg()
    e = (z - z.amax(-1, True)).exp()
    return e * (1 / e.sum(-1, True))


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_two_elements_decide(seed: int) -> None:
    """Each row's error is one draw of luck: whether the noise of two large numbers cancels."""
    torch.manual_seed(seed)
    args = (30 + torch.randn(150, 517), 30 + torch.randn(517))
    assert judged(peaked, args, peaked_by_hand).error <= 1.0
    assert judged(peaked, args, lambda x, s: peaked_by_hand(x, s * (1 + 1e-4))).error > 1.0


@pytest.mark.parametrize("seed", range(4))
def test_the_far_tail_of_gelu_among_zeros(seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(128, 512) * (torch.rand(128, 512) < 0.05) * 1.2

    def by_hand(x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(x * 0.5, x * 0.5, torch.erf(x.double() * 2**-0.5).float())

    assert judged(torch.nn.functional.gelu, (x,), by_hand).error <= 1.0
    assert judged(torch.nn.functional.gelu, (x,), lambda x: by_hand(x) * (1 + 1e-5)).error > 1.0


def test_rounding_of_intermediate_values_is_seen_and_equality_survives_it() -> None:
    torch.manual_seed(5)
    x = torch.randn(400) * 100

    def far(x: torch.Tensor) -> torch.Tensor:
        return (x * 1.1 + 1e6) - 1e6

    assert judged(far, (x,), lambda x: (torch.add(1e6, x, alpha=1.1)) - 1e6).error <= 1.0
    assert judged(far, (x,), lambda x: x * 1.1 - 1).error > 1.0

    def top(x: torch.Tensor) -> torch.Tensor:
        return (x == x.max()).float() * x.exp().clamp(max=2)

    assert judged(top, (x,), top).error <= 1.0
    assert judged(top, (x,), torch.zeros_like).error > 1.0


def test_a_reference_that_casts_to_a_half_type_is_met_by_those_that_keep_more_digits() -> None:
    torch.manual_seed(6)
    x, w = torch.randn(64, 256), torch.randn(256, 96)

    def mixed(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.relu((x.bfloat16() @ w.bfloat16()).float() * 1.5)

    def wide(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.relu((x.bfloat16().float() @ w.bfloat16().float()) * 1.5)

    assert judged(mixed, (x, w), mixed).error <= 1.0
    assert judged(mixed, (x, w), wide).error <= 1.0
    assert judged(mixed, (x, w), lambda x, w: wide(x[:, 1:], w[1:])).error > 1.0
    assert judged(mixed, (x, w), lambda x, w: wide(x, w) + 0.5).error > 1.0


@pytest.mark.parametrize("threads", [2, 8])
def test_a_sum_split_between_threads_cancels_within_its_bound(threads: int) -> None:
    torch.manual_seed(threads)
    x = torch.randn(40000, 3)

    def split(x: torch.Tensor) -> torch.Tensor:
        return sum((piece.sum(0) for piece in x.chunk(threads)), torch.zeros(3))

    assert judged(lambda x: x.sum(0), (x,), split).error <= 1.0
    assert judged(lambda x: x.sum(0), (x,), lambda x: split(x[:-1])).error > 1.0


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_of_large_numbers_among_clamped_neighbours(seed: int) -> None:
    """A few results of 1000 - 998 stand alone: their bound cannot come from neighbours that nothing can move."""
    generator = torch.Generator().manual_seed(seed)
    charge, current = (1e3 * torch.randn(6, 64, 64, generator=generator) for _ in range(2))

    def step(charge: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
        return (0.9 * charge + current).clamp(-2.0, 3.0)

    def fused(charge: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
        factor = torch.tensor(0.9).double()  # as a kernel holds it: the float32 next to it, and one rounding in the end
        return (factor * charge.double() + current.double()).float().clamp(-2.0, 3.0)

    assert judged(step, (charge, current), fused).error <= 1.0
    assert judged(step, (charge, current), lambda p, c: (0.9001 * p + c).clamp(-2.0, 3.0)).error > 1.0
    assert judged(step, (charge, current), lambda p, c: fused(p, c) + 1e-3).error > 1.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("correction", [0, 1])
def test_variances_of_rows_that_are_nearly_all_zero(seed: int, correction: int) -> None:
    """Equal squares are rounded alike, step after step in one direction."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(48, 96, generator=generator) * (torch.rand(48, 96, generator=generator) < 0.05)

    def norm(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(1, True)) * torch.rsqrt(x.var(1, correction=correction, keepdim=True) + 1e-3)

    def in_order(x: torch.Tensor, less: int = correction) -> torch.Tensor:
        mean, squares = torch.zeros(48), torch.zeros(48)
        for column in range(96):
            mean = mean + x[:, column]
        mean = mean / 96
        for column in range(96):
            squares = squares + (x[:, column] - mean) ** 2
        return (x - mean[:, None]) / torch.sqrt(squares / (96 - less) + 1e-3)[:, None]

    assert judged(norm, (x,), in_order).error <= 1.0
    assert judged(norm, (x,), lambda x: in_order(x, 1 - correction)).error > 1.0
    assert judged(norm, (x,), lambda x: in_order(x) * (1 + 1e-4)).error > 1.0
