"""Transposed convolutions with a stride become one kernel that agrees with float64 torch; others stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kernelwright.compiler import Kernel, emit, prepare
from kernelwright.targets import load

BACK: dict[int, Callable[..., torch.Tensor]] = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}

# input, weight (in, out per group, taps), options
CASES: dict[int, list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]]] = {
    1: [
        ((2, 5, 37), (5, 7, 8), {"stride": 4, "padding": 2}),
        ((1, 6, 50), (6, 1, 5), {"stride": 3, "padding": 1, "output_padding": 2}),
        ((2, 3, 2), (3, 18, 2), {"stride": 2}),
    ],
    2: [
        ((2, 6, 7, 9), (6, 5, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
        ((2, 6, 5, 16), (6, 4, 4, 4), {"stride": 2, "padding": 1, "groups": 3}),
        ((1, 3, 6, 33), (3, 17, 2, 2), {"stride": 2}),
        ((2, 4, 8, 5), (4, 9, 5, 7), {"stride": (3, 2), "padding": (0, 3), "output_padding": (1, 0)}),
        ((2, 4, 8, 21), (4, 1, 3, 4), {"stride": (1, 4), "groups": 4}),
        ((2, 4, 8, 20), (4, 6, 4, 3), {"stride": (2, 1), "padding": (3, 2)}),
        ((2, 4, 8, 12), (4, 6, 3, 3), {"stride": (2, 1), "padding": (4, 2), "dilation": (3, 2)}),
        ((3, 150, 4, 4), (150, 3, 6, 6), {"stride": 2, "padding": 2}),
    ],
    3: [
        ((1, 4, 3, 5, 6), (4, 3, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
        ((2, 3, 4, 4, 16), (3, 8, 4, 4, 4), {"stride": 2, "padding": 1}),
        ((2, 3, 3, 4, 7), (3, 2, 2, 3, 4), {"stride": (1, 2, 3), "padding": (1, 0, 2)}),
    ],
}


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def compiled(fn: Callable[..., Any], args: list[torch.Tensor], schedule: int = 0) -> tuple[Callable[..., Any], int]:
    """The kernel, and how many transposed convolutions are one in it."""
    with torch.no_grad():
        prepared = prepare(fn, tuple(args))
        found = [n for n, k in enumerate(prepared.kernels) if isinstance(k, Kernel) and k.phases is not None]
        return load(emit(prepared, dict.fromkeys(found, schedule)), fn, {}), len(found)


def agree(got: torch.Tensor, expected: torch.Tensor, *, unit: float = 2e-6) -> None:
    scale = expected.abs().max()
    assert got.shape == expected.shape
    assert float((got.double() - expected).abs().max()) < unit * max(1.0, float(scale))


@pytest.mark.parametrize("schedule", [0, 1])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_all_phases_are_one_kernel(rank: int, schedule: int) -> None:
    args = [draw(*shape) for x, w, _ in CASES[rank] for shape in (x, w)]

    def every(*args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pairs = zip(args[::2], args[1::2], CASES[rank], strict=True)
        return tuple(BACK[rank + 2](x, w, **options) for x, w, (_, _, options) in pairs)

    call, count = compiled(every, args, schedule)
    assert count == len(CASES[rank])
    for got, expected in zip(call(*args), every(*(a.double() for a in args)), strict=True):
        agree(got, expected)


def test_what_follows_is_done_for_all_phases_at_once() -> None:
    x, w, bias, other = draw(2, 6, 7, 9), draw(6, 5, 4, 4), draw(5), draw(2, 5, 14, 18)

    def fn(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.tanh(F.conv_transpose2d(x, w, bias, stride=2, padding=1) + other)

    call, count = compiled(fn, [x, w, bias, other])
    assert count == 1
    agree(call(x, w, bias, other), fn(*(a.double() for a in (x, w, bias, other))))


def test_narrow_storage_is_summed_wide() -> None:
    x, w = draw(2, 6, 7, 9).bfloat16(), draw(6, 5, 4, 4).bfloat16()
    call, count = compiled(lambda x, w: F.conv_transpose2d(x, w, stride=2), [x, w])
    assert count == 1
    agree(call(x, w), F.conv_transpose2d(x.double(), w.double(), stride=2), unit=8e-3)


def test_the_gradient_of_a_strided_convolution_is_one_kernel() -> None:
    grad, w = draw(2, 5, 8, 10), draw(5, 6, 3, 3)

    def fn(grad: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.nn.grad.conv2d_input(  # type: ignore[attr-defined]
            (2, 6, 16, 20), w, grad, stride=2, padding=1
        )

    call, count = compiled(fn, [grad, w])
    assert count == 1
    agree(call(grad, w), fn(grad.double(), w.double()))


def test_what_is_not_finite_stays_where_torch_has_it() -> None:
    x, w = draw(1, 3, 6, 17), draw(3, 4, 3, 3)
    x[0, 1, 2, 5], x[0, 0, 5, 16] = torch.inf, torch.nan
    call, _ = compiled(lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1), [x, w])
    expected = F.conv_transpose2d(x, w, stride=2, padding=1)
    assert torch.equal(call(x, w).isfinite(), expected.isfinite())


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("no stride", (6, 5, 3, 3), {}),
        ("residues without taps", (6, 5, 1, 1), {"stride": 2, "output_padding": 1}),
        ("dilation that leaves residues without taps", (6, 5, 4, 4), {"stride": 2, "dilation": 2}),
        ("dilation that gives residues other inputs", (6, 5, 4, 4), {"stride": 2, "dilation": 3, "padding": 4}),
    ],
)
def test_other_forms_stay_separate_and_right(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    x, w = draw(2, 6, 7, 9), draw(*shape)
    call, count = compiled(lambda x, w: F.conv_transpose2d(x, w, **options), [x, w])
    assert count == 0, name
    agree(call(x, w), F.conv_transpose2d(x.double(), w.double(), **options))


def test_channels_last_stays_separate_and_right() -> None:
    x = draw(2, 6, 7, 9).contiguous(memory_format=torch.channels_last)
    w = draw(6, 5, 4, 4)
    call, count = compiled(lambda x, w: F.conv_transpose2d(x, w, stride=2), [x, w])
    assert count == 0
    agree(call(x, w), F.conv_transpose2d(x.double(), w.double(), stride=2))


def test_threads_share_the_tiles() -> None:
    x, w = draw(1, 32, 16, 16), draw(32, 24, 4, 4)
    call, _ = compiled(lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1), [x, w])
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(call(x, w).clone())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)
    agree(results[0], F.conv_transpose2d(x.double(), w.double(), stride=2, padding=1))


@pytest.mark.parametrize(("size", "threaded"), [((2, 3, 4), False), ((8, 16, 16), True)])
def test_the_work_of_all_planes_and_rows_decides_about_threads(size: tuple[int, ...], threaded: bool) -> None:
    args = draw(2, 4, *size), draw(4, 16, 4, 4, 4)
    prepared = prepare(lambda x, w: F.conv_transpose3d(x, w, stride=2, padding=1), args)
    assert ("const int threads_ = 0 ?" in emit(prepared).source) is threaded


def test_more_residues_than_registers_are_right() -> None:
    x, w = draw(1, 3, 5), draw(3, 2, 40)
    call, count = compiled(lambda x, w: F.conv_transpose1d(x, w, stride=20), [x, w])
    assert count == 1
    agree(call(x, w), F.conv_transpose1d(x.double(), w.double(), stride=20))


def test_a_store_elsewhere_is_not_mistaken_for_a_phase() -> None:
    """Two convolutions that fill halves of one tensor are no phases of each other."""
    x, w = draw(2, 6, 7, 9), draw(6, 6, 3, 3)
    call, count = compiled(
        lambda x, w: torch.cat([F.conv2d(x, w, padding=1), F.conv2d(x, w, padding=1) * 2], 3), [x, w]
    )
    assert count == 0
    once = F.conv2d(x.double(), w.double(), padding=1)
    agree(call(x, w), torch.cat([once, once * 2], 3))
