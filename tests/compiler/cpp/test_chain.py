"""Long rows: statistics in one pass, few rows shared by all threads, results streamed; against float64 torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from kernelwright.compiler import Kernel, emit, prepare
from kernelwright.compiler.cpp import loops
from kernelwright.targets import load
from kernelwright.task import DynamicSize

INF, NAN = float("inf"), float("nan")
LONG = 70_001  # longer than the second cache's share of a row, not a multiple of the lanes
Fn = Callable[..., torch.Tensor]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setattr(loops, "_threads", lambda: 2)


def built(fn: Fn, *args: torch.Tensor, marks: tuple[str, ...] = (), choice: dict[int, int] | None = None) -> Fn:
    """The generated kernel; its source must hold ``marks``."""
    candidate = emit(prepare(fn, args), choice)
    for mark in marks:
        assert mark in candidate.source, mark
    return load(candidate, fn, {})


def check(fn: Fn, x: torch.Tensor, *marks: str, tolerance: float = 1e-5, kernel: Fn | None = None) -> None:
    found, wanted = (kernel or built(fn, x, marks=marks))(x), fn(x.double())
    assert found.shape == wanted.shape
    scale = wanted[wanted.isfinite()].abs().max().clamp_min(1e-30) if wanted.isfinite().any() else 1.0
    assert torch.allclose(found.double() / scale, wanted / scale, rtol=tolerance, atol=tolerance, equal_nan=True)


def rows(count: int, length: int = LONG) -> torch.Tensor:
    return torch.randn(count, length) * 3


def softmax(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, -1)


def layer_norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:])


SHIFTED = {
    "softmax": softmax,
    "log softmax": lambda x: torch.log_softmax(x, -1),
    "logsumexp": lambda x: torch.logsumexp(x, -1),
    "temperature": lambda x: torch.softmax(x * 0.7 - 2, -1),
    "softmax by hand": lambda x: (e := ((x - x.amax(-1, True)) / 3).exp()) / e.sum(-1, True),
    "mean of a softmax": lambda x: (torch.softmax(x, -1) * x.tanh()).sum(-1),
}
CENTRED = {
    "layer norm": layer_norm,
    "variance": lambda x: torch.var(x, -1),
    "norm by hand": lambda x: (x - x.mean(-1, True)) / ((x - x.mean(-1, True)) ** 2).mean(-1, True).sqrt(),
    "instance norm": lambda x: F.instance_norm(x[:, None])[:, 0],
}


@pytest.mark.parametrize("count", [5, 8, 1])
@pytest.mark.parametrize("name", SHIFTED)
def test_a_maximum_and_sums_of_exponentials_share_a_pass(name: str, count: int) -> None:
    check(SHIFTED[name], rows(count), "kw::Shifted")


@pytest.mark.parametrize("count", [5, 8, 1])
@pytest.mark.parametrize("name", CENTRED)
def test_a_mean_and_squared_distances_share_a_pass(name: str, count: int) -> None:
    check(CENTRED[name], rows(count) + 50, "kw::Moments")


@pytest.mark.parametrize("length", [1 << 16, LONG, 70_015, 4 * 16384 + 1])
def test_ragged_rows(length: int) -> None:
    check(softmax, rows(4, length), "kw::Shifted")
    check(layer_norm, rows(4, length), "kw::Moments")


@pytest.mark.parametrize("count", [6, 1])
def test_infinities_and_nan_behave_as_in_torch(count: int) -> None:
    """Wherever they lie: at the begin, in a block of their own, in the last part."""
    cases = {**SHIFTED, **CENTRED}
    cases = {name: cases[name] for name in ("softmax", "logsumexp", "layer norm")}
    kernels = {name: built(fn, rows(count)) for name, fn in cases.items()}
    for value in (INF, -INF, NAN):
        for place in (slice(0, 1), slice(4096, 8192), slice(LONG - 1, LONG), slice(0, LONG)):
            x = rows(count)
            x[-1, place] = value
            for name, fn in cases.items():
                check(fn, x, kernel=kernels[name])


@pytest.mark.parametrize("count", [6, 1])
def test_huge_and_rising_values_do_not_overflow(count: int) -> None:
    """Each block's maximum is far above that of the one before, or far below."""
    softmax_of, logsumexp_of = built(softmax, rows(count)), built(SHIFTED["logsumexp"], rows(count))
    ramp = torch.linspace(-3e4, 3e4, LONG).expand(count, LONG)
    for x in (ramp.contiguous(), ramp.flip(-1).contiguous(), rows(count) * 1e30, rows(count) - 1e30):
        check(softmax, x, kernel=softmax_of)
        check(SHIFTED["logsumexp"], x, kernel=logsumexp_of)


def test_a_small_variance_beside_a_large_mean_survives() -> None:
    drifting = torch.randn(4, LONG) + torch.linspace(1000, 1001, LONG)
    check(CENTRED["variance"], drifting, "kw::Moments", tolerance=1e-5)
    check(CENTRED["variance"], drifting[:1], "kw::Moments", tolerance=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("count", [5, 1])
def test_other_dtypes(dtype: torch.dtype, count: int) -> None:
    tolerance = {torch.bfloat16: 8e-3, torch.float16: 2e-3, torch.float64: 1e-11}[dtype]
    x = rows(count, 2 * LONG).to(dtype)
    check(softmax, x, "kw::Shifted", tolerance=tolerance)
    check(layer_norm, x, "kw::Moments", tolerance=tolerance)


def test_masks_and_several_inputs() -> None:
    def masked(x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        return torch.softmax(torch.where(keep, x / 8, -INF), -1)

    x, keep = rows(6), torch.rand(6, LONG) > 0.5
    keep[0], keep[1, :40000] = False, False
    found, wanted = built(masked, x, keep, marks=("kw::Shifted",))(x, keep), masked(x.double(), keep)
    assert torch.allclose(found.double(), wanted, rtol=1e-5, atol=1e-9, equal_nan=True)


def test_a_symbolic_number_of_rows() -> None:
    for fn in (softmax, layer_norm):
        x = rows(6)
        candidate = emit(prepare(fn, (x,), (DynamicSize(0, 0, 1, 64),)))
        kernel = load(candidate, fn, {})
        for count in (1, 6, 9):
            check(fn, rows(count), kernel=kernel)


def test_few_rows_are_shared_nest_by_nest() -> None:
    """No row is any thread's alone, and what the last nest reads is computed again rather than stored."""
    for fn in (softmax, layer_norm, lambda x: x / x.norm()):
        (kernel,) = (k for k in prepare(fn, (rows(1),)).kernels if isinstance(k, Kernel))
        assert kernel.schedules[0].phases
        check(fn, rows(1), "partial0")
        check(fn, rows(3), "partial0")
    (many,) = prepare(softmax, (rows(8),)).kernels
    assert isinstance(many, Kernel)
    assert not many.schedules[0].phases


def test_every_schedule_of_a_long_row() -> None:
    for fn, count in ((softmax, 3), (layer_norm, 8)):
        prepared = prepare(fn, (rows(count),))
        (kernel,) = prepared.kernels
        assert isinstance(kernel, Kernel)
        assert len({s.online for s in kernel.schedules}) == len({s.phases for s in kernel.schedules}) == 2
        for number in range(len(kernel.schedules)):
            check(fn, rows(count), kernel=load(emit(prepared, {0: number}), fn, {}))


def test_short_rows_keep_two_passes_through_the_cache() -> None:
    source = emit(prepare(softmax, (rows(64, 2048),))).source
    assert "kw::Shifted" not in source


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_streamed_results_of_any_alignment(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "LAST_CACHE", 1)
    monkeypatch.setattr(loops, "LEAST_STREAM", 1)
    x = rows(7, 1013).to(dtype)
    cases: list[Fn] = [lambda x: (x * 2).relu(), lambda x: x.t() + 1, softmax, lambda x: x[:, 3:] - x[:, :-3]]
    for fn in cases:
        check(fn, x, "kw::stream(", tolerance=1e-5 if dtype == torch.float32 else 1.5e-2)
