"""Contractions of every layout, size and type equal float64 torch."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kernelwright.compiler.cpp._schedule import Cache, Registers, register_tiles
from kernelwright.compiler.cpp.contract import GemmSchedule, schedules
from kernelwright.compiler.program import Acc, Axis, Const, Expr, Index, Load, Op

from ..contraction_lab import Case, Lab, check, convolution, einsum, weight_gradient


def _rand(*shape: int, dtype: str = "float32") -> torch.Tensor:
    return torch.randn(*shape).to(getattr(torch, dtype))


def _affine(acc: Acc, axes: dict[str, Axis]) -> Expr:
    """relu(acc * scale[n] + shift[m]) + residual[m, n]"""
    row, column = (Index.axis(axes[c].name) for c in "mn")
    scaled = Op("mul", (acc, Load("scale", (column,), acc.dtype)), acc.dtype)
    shifted = Op("add", (scaled, Load("shift", (row,), acc.dtype)), acc.dtype)
    clipped = Op("maximum", (shifted, Const(0.0, acc.dtype)), acc.dtype)
    return Op("add", (clipped, Load("residual", (row, column), acc.dtype)), acc.dtype)


def _with_epilogue(m: int, n: int, k: int) -> Case:
    extra = {"scale": _rand(n), "shift": _rand(m), "residual": _rand(m, n)}
    return einsum(
        "mk,kn->mn",
        _rand(m, k),
        _rand(k, n),
        epilogue=_affine,
        extra=extra,
        expected=lambda t: (t["a"] @ t["b"] * t["scale"] + t["shift"][:, None]).relu() + t["residual"],
        label=f"epilogue {m} {n} {k}",
    )


def _matmuls() -> Iterator[Case]:
    for m, n, k in [(1, 7, 65), (7, 1, 17), (17, 65, 129), (65, 129, 17), (129, 17, 1), (65, 33, 900)]:
        yield einsum("mk,kn->mn", _rand(m, k), _rand(k, n))
        yield einsum("mk,nk->mn", _rand(m, k), _rand(n, k))
        yield einsum("km,kn->nm", _rand(k, m), _rand(k, n))
    wide = _rand(40, 200)
    yield einsum("mk,kn->mn", wide[:, ::2], _rand(100, 33), label="strided rows")
    yield einsum("mk,kn->mn", _rand(33, 100), _rand(100, 80)[:, ::2], label="strided columns")
    yield einsum("bmk,bkn->bmn", _rand(3, 17, 33), _rand(3, 33, 40))
    yield einsum("bmk,bkn->bmn", _rand(1, 17, 33).expand(4, 17, 33), _rand(4, 33, 40))
    yield einsum("bmk,kn->bmn", _rand(3, 17, 33), _rand(33, 40))
    yield einsum("bhmk,bhnk->bmhn", _rand(2, 3, 17, 8), _rand(2, 3, 20, 8))
    yield einsum("bij,bkj->ikb", _rand(3, 17, 9), _rand(3, 20, 9))
    yield einsum("ijk,jlk->il", _rand(9, 5, 7), _rand(5, 11, 7))
    yield einsum("mk,k->m", _rand(65, 300), _rand(300))
    yield einsum("km,k->m", _rand(300, 65), _rand(300))
    yield einsum("bmk,bkn->bmn", _rand(5, 2, 65), _rand(5, 65, 33))
    yield einsum("mk,kn->mn", _rand(300, 65), _rand(65, 3))
    yield einsum("mk,kn->mn", _rand(20, 0), _rand(0, 30), label="empty sum")
    yield einsum("mk,kn->mn", _rand(0, 20), _rand(20, 30), label="no rows")
    yield _with_epilogue(45, 70, 33)
    yield _with_epilogue(45, 70, 900)
    yield _with_epilogue(3, 70, 33)


def _dtypes() -> Iterator[Case]:
    for dtype in ("bfloat16", "float16", "float64"):
        yield einsum("mk,kn->mn", _rand(33, 70, dtype=dtype), _rand(70, 50, dtype=dtype), out=dtype, label=dtype)
        yield einsum("mk,nk->mn", _rand(33, 70, dtype=dtype), _rand(50, 70, dtype=dtype), out=dtype, label=dtype)
        yield einsum("mk,nk->mn", _rand(1, 70, dtype=dtype), _rand(50, 70, dtype=dtype), out=dtype, label=dtype)
    yield einsum("mk,kn->mn", _rand(33, 70, dtype="bfloat16"), _rand(70, 50), label="mixed storage")
    yield convolution(
        _rand(2, 3, 8, 9, dtype="bfloat16"), _rand(6, 3, 3, 3, dtype="bfloat16"), padding=1, out="bfloat16"
    )
    yield convolution(_rand(2, 3, 8, 9, dtype="float64"), _rand(6, 3, 3, 3, dtype="float64"), padding=1, out="float64")


def _symbolic() -> Iterator[Case]:
    names = {"m": "s0", "n": "s1", "k": "s2"}
    for m, n, k in [(5, 70, 33), (130, 40, 800)]:
        yield einsum("mk,nk->mn", _rand(m, k), _rand(n, k), symbols=names, label=f"symbolic {m} {n} {k}")
    yield einsum("bmk,bkn->bmn", _rand(3, 20, 8), _rand(3, 8, 30), symbols={"b": "s0"}, label="symbolic batch")
    yield einsum("mk,nk->mn", _rand(1, 90), _rand(200, 90), symbols={"k": "s0"}, label="symbolic dot")
    yield einsum("mk,nk->mn", _rand(7, 290), _rand(50, 290), symbols={"k": "s0", "n": "s1"}, label="symbolic dots")


def _convolutions() -> Iterator[Case]:
    for stride, padding, dilation in [(1, 0, 1), (1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 3, 2), (3, 0, 1)]:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        yield convolution(_rand(2, 4, 13, 11), _rand(6, 4, 3, 3), **options)
        yield convolution(_rand(2, 4, 13, 11), _rand(6, 2, 3, 3), groups=2, **options)
        yield convolution(_rand(2, 4, 13, 11), _rand(4, 1, 3, 3), groups=4, **options)
    for taps in (1, 5, 7):
        yield convolution(_rand(2, 3, 17, 20), _rand(3, 1, taps, taps), groups=3, padding=taps // 2)
    yield convolution(_rand(1, 2, 33, 33), _rand(2, 1, 31, 31), groups=2, padding=15)
    yield convolution(_rand(2, 8, 7, 7), _rand(8, 1, 7, 7), groups=8, padding=3)
    yield convolution(_rand(2, 8, 14, 14), _rand(8, 1, 3, 3), groups=8, padding=1, stride=2)
    yield convolution(_rand(2, 4, 50), _rand(6, 4, 5), padding=2)
    yield convolution(_rand(2, 4, 50), _rand(4, 1, 4), padding=3, groups=4)
    yield convolution(_rand(2, 3, 7, 8, 9), _rand(5, 3, 3, 3, 3), padding=1)
    yield convolution(_rand(2, 3, 7, 8, 9), _rand(3, 1, 3, 3, 3), padding=1, groups=3)
    yield convolution(_rand(2, 4, 9, 9), _rand(8, 1, 3, 3), padding=1, groups=4)
    yield convolution(_rand(5, 6, 40, 36), _rand(20, 6, 3, 3), padding=1, bias=_rand(20), relu=True)
    yield convolution(_rand(2, 8, 20, 20), _rand(16, 8, 1, 1), bias=_rand(16))
    yield convolution(_rand(2, 8, 20, 20), _rand(16, 8, 1, 1), stride=2)
    last = torch.channels_last
    x, w = _rand(2, 8, 12, 10).to(memory_format=last), _rand(20, 8, 3, 3).to(memory_format=last)
    yield convolution(x, w, padding=1, channels_last=True)
    yield convolution(
        _rand(2, 8, 12, 10).to(memory_format=last), _rand(8, 1, 3, 3), padding=1, groups=8, channels_last=True
    )


def _in_place() -> Iterator[Case]:
    """Operands that are not packed first: B in runs of memory, rows of A, both, with every kind of edge."""
    for m, n, k in [(5, 33, 40), (29, 16, 7), (31, 47, 700), (100, 24, 40), (13, 100, 1)]:
        yield einsum("mk,kn->mn", _rand(m, k), _rand(k, n), label=f"rows and runs {m} {n} {k}")
    yield einsum("bmk,bkn->bmn", _rand(7, 16, 16), _rand(7, 16, 16), label="small batch")
    yield einsum("bthd,hde->bthe", _rand(2, 11, 3, 20), _rand(3, 20, 24), label="rows far apart")
    yield einsum("mk,kn->mn", _rand(40, 90)[:, 3:70], _rand(67, 80)[:, 5:38], label="slices")
    yield _with_epilogue(101, 37, 50)
    for m, n, k in [(5, 33, 130), (16, 64, 256), (17, 130, 900), (24, 7, 128)]:
        yield einsum("mk,nk->mn", _rand(m, k), _rand(n, k), label=f"dots {m} {n} {k}")
    yield einsum("bmk,bnk->bmn", _rand(3, 9, 200), _rand(3, 70, 200), label="batch of dots")
    yield einsum("mk,nk->mn", _rand(9, 200), _rand(70, 200, dtype="bfloat16"), label="dots of bfloat16")
    for size in (5, 6, 7, 8, 14, 15, 16, 20):
        yield convolution(_rand(3, 4, size, size), _rand(20, 4, 3, 3), padding=1, label=f"runs of {size}")
    yield convolution(_rand(2, 8, 30, 30), _rand(33, 8, 3, 3), padding=6, dilation=6, bias=_rand(33), relu=True)


def _channels() -> Iterator[Case]:
    """Depthwise with channels as lanes: contiguous channels, small planes, partly filled vectors, every window."""
    last = torch.channels_last
    for stride, padding, dilation in [(1, 0, 1), (1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 3, 2), (3, 0, 1)]:
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 20}
        yield convolution(_rand(2, 20, 12, 9), _rand(20, 1, 3, 3), **options)
        x = _rand(2, 20, 12, 29).to(memory_format=last)
        yield convolution(x, _rand(20, 1, 3, 3), channels_last=True, **options)
        yield convolution(x, _rand(20, 1, 3, 3), label="from channels_last", **options)
    for stride, taps in [(1, 3), (2, 5), (1, 7)]:  # read where they lie: the last sixteen channels overlap others
        w, bias = _rand(33, 1, taps, taps).to(memory_format=last), _rand(33)
        options = {"stride": stride, "padding": taps // 2, "groups": 33, "bias": bias, "relu": True}
        yield convolution(_rand(2, 33, 5, 27).to(memory_format=last), w, channels_last=True, **options)
    x = _rand(1, 17, 6, 19, dtype="bfloat16").to(memory_format=last)
    yield convolution(x, _rand(17, 1, 3, 3, dtype="bfloat16"), padding=1, groups=17, channels_last=True, out="bfloat16")
    yield convolution(_rand(3, 33, 7, 7), _rand(33, 1, 7, 7), groups=33, padding=3, bias=_rand(33), relu=True)
    yield convolution(_rand(2, 16, 1, 5), _rand(16, 1, 1, 3), groups=16)
    x = _rand(1, 16, 6, 7, dtype="bfloat16").to(memory_format=last)
    yield convolution(x, _rand(16, 1, 3, 3, dtype="bfloat16"), padding=1, groups=16, channels_last=True, out="bfloat16")


def _pairs() -> Iterator[Case]:
    """bfloat16 on both sides: odd sums, both directions of memory, rounding only where it is stored."""
    half = "bfloat16"
    for m, n, k in [(33, 50, 71), (14, 32, 1), (20, 40, 2), (7, 130, 1100), (100, 17, 64)]:
        a, b = _rand(m, k, dtype=half), _rand(k, n, dtype=half)
        yield einsum("mk,kn->mn", a, b, label=f"pairs {m} {n} {k}")
        yield einsum("mk,nk->mn", a, b.t().contiguous(), out=half, label=f"pairs along k {m} {n} {k}")
        yield einsum("km,kn->mn", a.t().contiguous(), b, label=f"pairs across {m} {n} {k}")
    yield einsum("bmk,bnk->bmn", _rand(3, 20, 40, dtype=half), _rand(3, 35, 40, dtype=half), label="batch of pairs")
    x, w = _rand(5, 6, 34, 35, dtype=half), _rand(20, 6, 3, 3, dtype=half)
    yield convolution(x, w, padding=1, label="padded pairs of large images")
    yield convolution(x, w, padding=2, dilation=2, stride=2, label="padded pairs")
    names = {"m": "s0", "n": "s1", "k": "s2"}
    a, b = _rand(19, 45, dtype=half), _rand(70, 45, dtype=half)
    yield einsum("mk,nk->mn", a, b, symbols=names, label="symbolic pairs")
    a, b = _rand(40, 5000, dtype=half), _rand(5000, 48, dtype=half)
    yield einsum("mk,kn->mn", a, b, schedule=GemmSchedule("split-k", 12, 2, 0, 128, 64, 2), label="pairs split-k")


def _schedules() -> Iterator[Case]:
    a, b = _rand(70, 1000), _rand(1000, 90)
    yield einsum("mk,kn->mn", a, b, schedule=GemmSchedule("split-k", 12, 2, 0, 128, 96, 2), label="split-k")
    yield einsum("mk,kn->mn", a, b, schedule=GemmSchedule("gemm", 6, 4, 12, 64, 64, 2), label="small blocks")
    yield einsum("mk,kn->mn", a, b, schedule=GemmSchedule("gemm", 5, 1, 10, 300, 16, 1), label="one vector")
    yield einsum("mk,kn->nm", a, b, schedule=GemmSchedule("gemm", 14, 2, 966, 384, 384, 2), label="wide tile")


def _as_direct(case: Case, **changes: int) -> Case:
    """With its direct schedule, wherever that stands in the list."""
    found = next(s for s in schedules(case.program, case.reduce) if s.strategy == "direct")
    return replace(case, schedule=replace(found, **changes))


def _direct() -> Iterator[Case]:
    """Result channels as lanes: every edge of planes, pieces of rows, blocks of channels, both orders of memory."""
    for stride, padding, dilation in [(1, 0, 1), (1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 3, 2), (1, 6, 5)]:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        yield _as_direct(convolution(_rand(2, 19, 17, 18), _rand(21, 19, 3, 3), **options))
        yield _as_direct(convolution(_rand(2, 32, 17, 18), _rand(40, 16, 3, 3), groups=2, **options), kc=5)
        x, w = (t.to(memory_format=torch.channels_last) for t in (_rand(2, 19, 17, 18), _rand(21, 19, 3, 3)))
        yield _as_direct(convolution(x, w, channels_last=True, bias=_rand(21), relu=True, **options))
        yield _as_direct(convolution(x, w, channels_last=True, **options), kc=7)
    yield _as_direct(convolution(_rand(2, 16, 7, 7), _rand(70, 16, 3, 3), padding=1, bias=_rand(70), relu=True))
    yield _as_direct(convolution(_rand(2, 16, 40, 41), _rand(33, 16, 3, 3), padding=1), kc=6)
    yield _as_direct(convolution(_rand(2, 20, 50), _rand(16, 20, 5), padding=3))
    yield _as_direct(convolution(_rand(2, 20, 5, 6, 9), _rand(16, 20, 3, 3, 3), padding=1))
    yield _as_direct(convolution(_rand(1, 16, 3, 9), _rand(16, 16, 7, 7), padding=3))
    yield _as_direct(convolution(_rand(1, 16, 6, 6), _rand(16, 16, 1, 13), padding=6))
    x, w = _rand(1, 16, 9, 9, dtype="float32"), _rand(16, 16, 3, 3, dtype="bfloat16")
    yield _as_direct(convolution(x, w, padding=1))


def _as_phase(case: Case) -> Case:
    """With its best schedule of one phase, wherever that stands in the list."""
    return replace(case, schedule=next(s for s in schedules(case.program, case.reduce) if s.strategy == "phases"))


def _phases() -> Iterator[Case]:
    """Inputs read where they lie: every edge of rows and planes, residues, groups, one to three dimensions."""
    for stride, padding, dilation in [(1, 0, 1), (1, 1, 1), (2, 0, 1), (2, 1, 1), (2, 3, 2), (1, 6, 5), (2, 4, 3)]:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        yield _as_phase(convolution(_rand(2, 3, 17, 18), _rand(21, 3, 3, 3), **options))
        yield _as_phase(convolution(_rand(2, 10, 14, 13), _rand(35, 2, 3, 3), groups=5, relu=True, **options))
        yield _as_phase(convolution(_rand(3, 2, 40), _rand(9, 2, 4), bias=_rand(9), **options))
    yield _as_phase(convolution(_rand(2, 3, 6, 7, 37), _rand(16, 3, 3, 3, 3), stride=2, padding=1))
    yield _as_phase(convolution(_rand(1, 4, 5, 6, 9), _rand(8, 2, 2, 3, 4), groups=2, padding=2))
    yield _as_phase(convolution(_rand(1, 3, 30, 41), _rand(12, 3, 7, 7), stride=2, padding=3))
    yield _as_phase(convolution(_rand(1, 70, 9, 50), _rand(5, 70, 3, 3), padding=1))
    yield _as_phase(convolution(_rand(2, 1, 90), _rand(8, 1, 20), stride=4, padding=8))
    yield _as_phase(convolution(_rand(1, 2, 5, 6), _rand(4, 2, 7, 7), padding=3))
    yield _as_phase(convolution(_rand(1, 3, 9, 20), _rand(8, 3, 3, 3, dtype="bfloat16"), padding=1))


GROUPS = {
    "direct": _direct,
    "phases": _phases,
    "matmuls": _matmuls,
    "dtypes": _dtypes,
    "symbolic": _symbolic,
    "convolutions": _convolutions,
    "in place": _in_place,
    "channels": _channels,
    "pairs": _pairs,
    "schedules": _schedules,
}


@pytest.mark.parametrize("group", GROUPS)
def test_equals_float64_torch(group: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    lab = Lab(tmp_path)
    for case in GROUPS[group]():
        lab.add(case)
    library: ctypes.CDLL = lab.build(["-O1"])
    for number in range(len(lab.cases)):
        check(lab, library, number)


def test_weight_gradient(tmp_path: Path) -> None:
    """dW[o,c,s,t] = sum over images and pixels of dY[n,o,p,q] * X[n,c,p+s-1,q+t-1]."""
    torch.manual_seed(0)
    lab = Lab(tmp_path)
    for images, size in ((2, 9), (40, 24)):
        lab.add(weight_gradient(_rand(images, 3, size, size), _rand(images, 5, size, size)))
    library = lab.build(["-O1"])
    for number in range(len(lab.cases)):
        check(lab, library, number)


def test_nothing_is_read_or_written_outside(tmp_path: Path) -> None:
    """Operands end where readable memory ends: a read beyond them is a fault."""
    torch.manual_seed(0)
    lab = Lab(tmp_path)
    lab.add(einsum("mk,kn->mn", _rand(17, 33), _rand(33, 41)))
    lab.add(einsum("mk,nk->mn", _rand(17, 33), _rand(41, 33)))
    lab.add(einsum("mk,nk->mn", _rand(1, 33), _rand(41, 33)))
    lab.add(convolution(_rand(1, 3, 9, 11), _rand(5, 3, 3, 3)))
    lab.add(convolution(_rand(1, 8, 9, 9), _rand(5, 8, 1, 1), stride=2))
    lab.add(convolution(_rand(1, 3, 9, 11), _rand(3, 1, 3, 3), padding=1, groups=3))
    lab.add(einsum("mk,kn->mn", _rand(31, 20), _rand(20, 24)))
    lab.add(einsum("bmk,bkn->bmn", _rand(3, 16, 16), _rand(3, 16, 17)))
    lab.add(einsum("mk,nk->mn", _rand(9, 131), _rand(41, 131)))
    lab.add(convolution(_rand(2, 3, 7, 7), _rand(5, 3, 3, 3)))
    lab.add(_as_direct(convolution(_rand(2, 17, 7, 7), _rand(19, 17, 3, 3), padding=1)))
    lab.add(convolution(_rand(1, 20, 7, 7), _rand(20, 1, 3, 3), padding=1, groups=20))
    lab.add(_as_phase(convolution(_rand(2, 3, 9, 11), _rand(5, 3, 3, 3), padding=1)))
    lab.add(_as_phase(convolution(_rand(2, 3, 9, 37), _rand(5, 3, 3, 3), stride=2)))
    lab.add(einsum("mk,nk->mn", _rand(17, 33, dtype="bfloat16"), _rand(41, 33, dtype="bfloat16")))
    lab.add(einsum("km,kn->mn", _rand(33, 17, dtype="bfloat16"), _rand(33, 41, dtype="bfloat16")))
    library = lab.build(["-O1"])
    for number in range(len(lab.cases)):
        lab.guard(number)
        check(lab, library, number)


def test_schedules_begin_with_the_best_guess_and_fit_the_registers() -> None:
    case = einsum("mk,kn->mn", _rand(512, 512), _rand(512, 512))
    found = schedules(case.program, case.reduce)
    assert 2 <= len(found) <= 6
    assert len(set(found)) == len(found)
    assert all(s.mr * s.nv + s.nv + 1 <= 32 for s in found)
    assert found[0].strategy == "gemm"


@pytest.mark.parametrize(
    ("case", "strategy"),
    [
        (lambda: einsum("mk,k->m", _rand(512, 300), _rand(300)), "dot"),
        (lambda: einsum("km,k->m", _rand(300, 512), _rand(300)), "axpy"),
        (lambda: einsum("km,kn->mn", _rand(20000, 16), _rand(20000, 32)), "split-k"),
        (lambda: convolution(_rand(1, 4, 9, 9), _rand(4, 1, 3, 3), groups=4), "window"),
        (lambda: convolution(_rand(1, 64, 7, 7), _rand(64, 1, 3, 3), groups=64), "channels"),
        (lambda: einsum("mk,nk->mn", _rand(16, 512), _rand(300, 512)), "dot"),
        (lambda: convolution(_rand(8, 64, 7, 7), _rand(64, 64, 3, 3), padding=1), "direct"),
        (lambda: convolution(_rand(8, 32, 28, 28), _rand(32, 4, 3, 3), padding=1, groups=8), "phases"),
        (lambda: convolution(_rand(8, 3, 64, 64), _rand(32, 3, 3, 3), padding=1, stride=2), "phases"),
        (lambda: convolution(_rand(8, 64, 7, 7), _rand(64, 64, 1, 1)), "gemm"),
    ],
)
def test_strategy_follows_the_form(case: object, strategy: str) -> None:
    made = case()  # type: ignore[operator]
    assert schedules(made.program, made.reduce)[0].strategy == strategy


def test_tiles_fit_the_registers_there_are(tmp_path: Path) -> None:
    small = Cache(registers=Registers(16, 32))
    for tile, registers in ((t, r) for r in (small.registers, Registers(32, 64)) for t in register_tiles("float32", r)):
        assert (tile[0] + 1) * tile[1] * registers.parts < registers.count
    assert max(register_tiles("float32", small.registers)) == (6, 1)
    lab = Lab(tmp_path)
    for case in (
        einsum("mk,kn->mn", torch.randn(37, 50), torch.randn(50, 70)),
        convolution(torch.randn(2, 16, 14, 14), torch.randn(32, 16, 3, 3), padding=1),
    ):
        lab.add(replace(case, schedule=schedules(case.program, case.reduce, small)[0]))
    library = lab.build(["-march=x86-64-v3"] if platform.machine() == "x86_64" else [])
    for number in range(len(lab.cases)):
        check(lab, library, number)
