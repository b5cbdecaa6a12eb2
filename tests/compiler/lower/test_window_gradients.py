"""Derivatives of pooling and upsampling: generated code against autograd in float64, ties and layouts included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kernelwright.compiler import emit, prepare
from kernelwright.compiler.program import (
    Axis,
    FloorDiv,
    Index,
    Load,
    Map,
    Program,
    Store,
    Tensor,
    contiguous,
)
from kernelwright.targets import AtenCall, load

from ..cpp.harness import Unit
from ..oracle import check

aten = torch.ops.aten
LAST = torch.channels_last

# kernel, stride, padding, ceil_mode
WINDOWS = [
    (2, 2, 0, False), (2, 2, 0, True), (3, 3, 1, False), (3, 2, 1, False), (3, 2, 1, True), (3, 1, 1, False),
    (2, 3, 0, False), ((3, 2), (1, 2), (1, 0), True), (5, 4, 2, False), (4, 4, 0, False),
]  # fmt: skip
SIZES = [(13, 18), (6, 40)]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
    torch.manual_seed(0)


def generated(fn: Callable[..., Any], *args: torch.Tensor) -> list[torch.Tensor]:
    """What the generated kernels return; no ATen call may be left."""
    candidate = emit(prepare(fn, args))
    assert not [s for s in candidate.plan.steps if isinstance(s, AtenCall)]
    result = load(candidate, fn, {})(*args)
    return list(result) if isinstance(result, list | tuple) else [result]


def autograd(fn: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    own = x.double().requires_grad_()
    (result,) = torch.autograd.grad(fn(own), own, grad.double())
    return result


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert found.shape == expected.shape


def pairs(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("last", [False, True], ids=["rows", "channels_last"])
def test_max_pool(size: tuple[int, int], last: bool) -> None:
    x = torch.randint(0, 4, (2, 3, *size)).float()  # many ties: the first of the largest gets it all
    x = x.contiguous(memory_format=LAST) if last else x
    args: list[torch.Tensor] = [x]
    for k, s, p, ceil in WINDOWS:
        y, places = F.max_pool2d(x, k, s, p, ceil_mode=ceil, return_indices=True)
        assert places.dtype == torch.int64
        args += [torch.randn_like(y), places]

    def fn(x: torch.Tensor, *rest: torch.Tensor) -> list[torch.Tensor]:
        return [
            aten.max_pool2d_with_indices_backward(g, x, pairs(k), pairs(s), pairs(p), [1, 1], ceil, i)
            for (k, s, p, ceil), g, i in zip(WINDOWS, rest[::2], rest[1::2], strict=True)
        ]

    for (k, s, p, ceil), grad, found in zip(WINDOWS, args[1::2], generated(fn, *args), strict=True):
        close(found, autograd(lambda v, k=k, s=s, p=p, c=ceil: F.max_pool2d(v, k, s, p, ceil_mode=c), x, grad))
        assert found.is_contiguous(memory_format=LAST) == last


def test_max_pool_of_nan_and_of_infinity() -> None:
    x = torch.randn(2, 3, 12, 20)
    x[:, :, ::5, ::3] = torch.nan
    x[0, 0] = -torch.inf
    y, places = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    grad = torch.randn_like(y)
    grad[1, 1, 2, 3] = torch.nan
    grad[1, 2, 2, 3] = torch.inf

    def fn(g: torch.Tensor, x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        return aten.max_pool2d_with_indices_backward(g, x, [3, 3], [2, 2], [1, 1], [1, 1], False, i)

    (found,) = generated(fn, grad, x, places)
    torch.testing.assert_close(found, fn(grad, x, places), equal_nan=True)


def test_max_pool_fuses_with_what_reads_it() -> None:
    """Without overlap there is no memory between a pool's derivative and its readers: one statement, one kernel."""
    x = torch.randn(2, 3, 8, 32)
    y, places = F.max_pool2d(x, 2, return_indices=True)

    def fn(g: torch.Tensor, x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        spread = aten.max_pool2d_with_indices_backward(g, x, [2, 2], [2, 2], [0, 0], [1, 1], False, i)
        return aten.threshold_backward(spread, x, 0) * 2

    program = check(fn, torch.randn_like(y), x, places)
    assert len(program.statements) == 1
    source = emit(prepare(fn, (torch.randn_like(y), x, places))).source
    assert "kw::repeat<2>" in source  # rows are read by a shuffle, not lane by lane
    assert "kw::lanes" not in source


def test_max_pool_in_three_dimensions_and_one() -> None:
    x, flat = torch.randn(2, 2, 5, 7, 9), torch.randn(2, 3, 21)
    y, places = F.max_pool3d(x, 3, 2, 1, return_indices=True)
    z, spots = F.max_pool1d(flat, 3, 2, 1, return_indices=True)
    g, h = torch.randn_like(y), torch.randn_like(z)

    def fn(*a: torch.Tensor) -> list[torch.Tensor]:
        g, x, i, h, flat, k = a
        three = aten.max_pool3d_with_indices_backward(g, x, [3] * 3, [2] * 3, [1] * 3, [1] * 3, False, i)
        one = aten.max_pool2d_with_indices_backward(
            h.unsqueeze(2), flat.unsqueeze(2), [1, 3], [1, 2], [0, 1], [1, 1], False, k.unsqueeze(2)
        )
        return [three, one.squeeze(2)]

    three, one = generated(fn, g, x, places, h, flat, spots)
    close(three, autograd(lambda v: F.max_pool3d(v, 3, 2, 1), x, g))
    close(one, autograd(lambda v: F.max_pool1d(v, 3, 2, 1), flat, h))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("counted", [False, True])
def test_avg_pool(size: tuple[int, int], counted: bool) -> None:
    x = torch.randn(2, 3, *size)
    variants = [(*w, d) for w in WINDOWS for d in ((None, 3) if w[0] == 3 else (None,))]
    grads = [
        torch.randn_like(F.avg_pool2d(x, k, s, p, ceil, counted, divisor_override=d)) for k, s, p, ceil, d in variants
    ]

    def fn(x: torch.Tensor, *grads: torch.Tensor) -> list[torch.Tensor]:
        return [
            aten.avg_pool2d_backward(g, x, pairs(k), pairs(s), pairs(p), ceil, counted, d)
            for (k, s, p, ceil, d), g in zip(variants, grads, strict=True)
        ]

    for (k, s, p, ceil, d), grad, found in zip(variants, grads, generated(fn, x, *grads), strict=True):

        def pooled(v: torch.Tensor, k: Any = k, s: Any = s, p: Any = p, c: bool = ceil, d: Any = d) -> torch.Tensor:
            return F.avg_pool2d(v, k, s, p, c, counted, divisor_override=d)

        close(found, autograd(pooled, x, grad))


@pytest.mark.parametrize("size", SIZES)
def test_adaptive_avg_pool(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    outs = [(1, 1), (4, 6), (2, 2), (5, 11), (6, 7), (20, 43)]
    grads = [torch.randn(2, 3, *out) for out in outs]

    def fn(x: torch.Tensor, *grads: torch.Tensor) -> list[torch.Tensor]:
        return [aten._adaptive_avg_pool2d_backward(g, x) for g in grads]

    for out, grad, found in zip(outs, grads, generated(fn, x, *grads), strict=True):
        close(found, autograd(lambda v, out=out: F.adaptive_avg_pool2d(v, out), x, grad))


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (4, 2)])
def test_upsample_nearest(factors: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 5, 11)
    out = [5 * factors[0], 11 * factors[1]]
    grad = torch.randn(2, 3, *out)

    def fn(g: torch.Tensor) -> torch.Tensor:
        return aten.upsample_nearest2d_backward(g, out, [2, 3, 5, 11], None, None)

    (found,) = generated(fn, grad)
    close(found, autograd(lambda v: F.interpolate(v, size=out), x, grad))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "bfloat16", "uint8"])
def test_rows_that_are_read_several_times(dtype: str) -> None:
    """Lane k is element (k + shift) // divisor, for every width of elements and every rest of a vector."""
    kind = getattr(torch, dtype)
    cases = [(d, shift, width) for d in (2, 3, 4) for shift in range(d) for width in (19, 48)]
    tensors, axes, statements = {}, {}, []
    for n, (divisor, shift, width) in enumerate(cases):
        count = (width - 1 + shift) // divisor + 1
        tensors[f"x{n}"] = Tensor(f"x{n}", (2, count), dtype, contiguous((2, count)), "input")
        tensors[f"y{n}"] = Tensor(f"y{n}", (2, width), dtype, contiguous((2, width)), "output")
        i, j = Axis(f"i{n}", 2), Axis(f"j{n}", width)
        place = Index.of(FloorDiv(Index.axis(j.name) + shift, divisor))
        value = Load(f"x{n}", (Index.axis(i.name), place), "float32" if dtype == "bfloat16" else dtype)
        statements.append(Map((i, j), value, Store(f"y{n}", (Index.axis(i.name), Index.axis(j.name)))))
        axes[f"x{n}"] = torch.arange(2 * count).reshape(2, count).mul(3).to(kind)
    names = tuple(tensors)
    program = Program(tensors, names[::2], names[1::2], tuple(statements))
    unit = Unit([program])
    assert "kw::repeat<3>" in unit.source
    found = unit.run(0, axes)
    for n, (divisor, shift, width) in enumerate(cases):
        assert torch.equal(found[f"y{n}"], axes[f"x{n}"].repeat_interleave(divisor, 1)[:, shift : shift + width])


def test_a_small_net_trains_as_in_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every graph is served by its first candidate, unjudged; the gradients are eager's."""
    from kernelwright.backend import _find, _serve
    from kernelwright.backend._propose import Proposer
    from kernelwright.judge import Verdict
    from kernelwright.search import Outcome

    calls: list[AtenCall] = []

    def first(core: Any, inputs: Any, name: str, **how: Any) -> Outcome:
        candidate = next(iter(Proposer(core, inputs, name).propose(1)))
        calls.extend(s for s in candidate.plan.steps if isinstance(s, AtenCall) and "pool" in s.op)
        task = _find.task_of(core, inputs, name, how["backward"])
        return Outcome(task, "won", candidate, Verdict("accepted"), None, (), 0.0, "", False, None)

    monkeypatch.setattr(_serve, "find", first)
    torch._dynamo.reset()
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, 1),
        torch.nn.Conv2d(8, 8, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 4, 1),
        torch.nn.AvgPool2d(3, 1, 1), torch.nn.Flatten(), torch.nn.LazyLinear(5),
    )  # fmt: skip
    x, y = torch.randn(4, 3, 18, 18), torch.randint(5, (4,))
    net(x)
    grads = []
    for run in (net, torch.compile(net, backend="kernelwright")):
        net.zero_grad()
        F.cross_entropy(run(x), y).backward()
        grads.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    for own, expected in zip(grads[1], grads[0], strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-5)
    assert not calls
    torch._dynamo.reset()
