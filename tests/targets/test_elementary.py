"""Every elementary function of the kernels' headers, swept over all of float32 against double precision."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kernelwright.targets.cpu import INCLUDE
from kernelwright.targets.cpu._build import FLAGS

# The largest error allowed, in units in the last place of the exact result; the worst measured is a little below.
ULPS = {
    "exp": 0.95, "exp2": 0.9, "expm1": 1.6, "sigmoid": 2.5, "tanh": 2.5, "sinh": 1.8, "cosh": 1.5,
    "log": 1.0, "log2": 1.8, "log10": 2.3, "log1p": 1.0, "asinh": 1.8, "acosh": 2.6, "atanh": 2.0,
    "sin": 2.2, "cos": 2.2, "tan": 2.7, "asin": 2.4, "acos": 1.2, "atan": 1.5, "erf": 3.1, "erfc": 3.95,
    "rsqrt": 1.5, "reciprocal": 0.51, "sqrt": 0.51,
}  # fmt: skip
ULPS_2 = {"pow": 1.0, "atan2": 1.6}
VECTOR = {"exp", "log", "tanh", "erf", "sigmoid", "expm1"}  # a call in one of these would cost a factor of ten

UNARY = """
extern "C" __attribute__((visibility("default"))) void {0}(const float* x, float*, float* y, long n) {{
  for (long i = 0; i < n; i += kw::W) kw::store(y + i, kw::{0}(kw::load(x + i)));
}}
"""
BINARY = """
extern "C" __attribute__((visibility("default"))) void {0}(const float* x, const float* z, float* y, long n) {{
  for (long i = 0; i < n; i += kw::W) kw::store(y + i, kw::{0}(kw::load(x + i), kw::load(z + i)));
}}
"""
SPECIAL = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1.0, -1.0, 1e-45, -1e-45, 1.1754942e-38, -1e-38,
           3.4028235e38, -3.4028235e38, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5, 8388609.0, -8388609.0, 16777216.0,
           -16777218.0, 0.99999994, 1.0000001, -0.99999994, 88.72283, 88.7229, -87.4, 10.05]  # fmt: skip
COMPILERS = {"g++": (), "g++ without AVX-512": ("-mno-avx512f",), "clang": ()}


@pytest.fixture(scope="module", params=list(COMPILERS))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("elementary")
    parts = ["#define KW_SERIAL\n#include <kw/math.h>\n"]
    parts += [UNARY.format(name) for name in ULPS] + [BINARY.format(name) for name in ULPS_2]
    (folder / "all.cpp").write_text("".join(parts))
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    if request.param == "clang" and importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed")
    compiler = (
        ["g++"] if request.param != "clang" else [sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=undefined"]
    )
    flags = [flag for flag in FLAGS if flag != "-shared"]
    options = ["-march=native", *COMPILERS[request.param], f"-I{INCLUDE}", "-c", "all.cpp", "-o", "all.o"]
    # Linking is g++'s in every case: zig would first build its own C++ library.
    subprocess.run([*compiler, *flags, *options], cwd=folder, check=True, capture_output=True)
    subprocess.run(["g++", "-shared", "all.o", "-o", "all.so", "-lm"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "all.so"))


def call(library: ctypes.CDLL, name: str, x: Tensor, z: Tensor | None = None) -> Tensor:
    y = torch.empty_like(x)
    second = x if z is None else z
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (x, second, y)]
    getattr(library, name)(*pointers, ctypes.c_long(x.numel()))
    return y


@functools.cache
def expected(name: str) -> Tensor:
    return exact(name, numbers())


def exact(name: str, *x: Tensor) -> Tensor:
    fn: Callable[..., Tensor] = getattr(torch, name)
    return fn(*(t.double() for t in x))


def every(step: int) -> Tensor:
    """One in `step` of all bit patterns: every exponent, both signs, denormals, infinities and NaN."""
    patterns = torch.arange(-(2**31), 2**31, step, dtype=torch.int64).to(torch.int32)
    return patterns.view(torch.float32)


@functools.cache
def numbers() -> Tensor:
    rng = torch.Generator().manual_seed(0)

    def uniform(low: float, high: float, bits: int) -> Tensor:
        return torch.empty(2**bits).uniform_(low, high, generator=rng)

    random = torch.randint(-(2**31), 2**31 - 1, (2**17,), generator=rng).to(torch.int32).view(torch.float32)
    x = torch.cat([torch.tensor(SPECIAL), every(32749), random, uniform(-12, 12, 18), uniform(-110, 110, 18),
                   uniform(0.5, 2, 17), uniform(-1, 1, 18)])  # fmt: skip
    return x[: x.numel() // 16 * 16].clone()


def check(got: Tensor, want: Tensor, bound: float, *x: Tensor) -> None:
    rounded = want.float()
    say = torch.stack([*x, got, rounded], 1)
    same = (got.isnan() == rounded.isnan()) & (rounded.isnan() | (got.signbit() == rounded.signbit()))
    assert same.all(), f"NaN or sign differs (argument, result, expected): {say[~same][:5].tolist()}"
    # Where the exact result rounds to infinity the kernel's may be the largest float, and the reverse.
    edge = torch.finfo(torch.float32).max * (1 - 2.0**-22)
    infinite = (got.isinf() != rounded.isinf()) & ((want.abs() < edge) | (want.abs() > 2 * edge) | want.isinf())
    assert not infinite.any(), f"infinity differs (argument, result, expected): {say[infinite][:5].tolist()}"
    finite = got.isfinite() & rounded.isfinite()
    exponent = torch.frexp(rounded[finite].abs().double().clamp_min(2.0**-126)).exponent
    error = (got[finite].double() - want[finite]).abs() / torch.exp2((exponent - 24).double())
    worst = int(error.argmax())
    assert error[worst] <= bound, f"{error[worst]:.2f} ulp at {say[finite][worst].tolist()}"


@pytest.mark.parametrize("name", ULPS)
def test_unary(library: ctypes.CDLL, name: str) -> None:
    x = numbers()
    check(call(library, name, x), expected(name), ULPS[name], x)


@pytest.mark.parametrize("name", ULPS_2)
def test_binary(library: ctypes.CDLL, name: str) -> None:
    special = torch.tensor(SPECIAL)
    rng = torch.Generator().manual_seed(1)
    count = 2**17

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high, generator=rng)

    def random() -> Tensor:
        return torch.randint(-(2**31), 2**31 - 1, (count,), generator=rng).to(torch.int32).view(torch.float32)

    whole = torch.randint(-12, 12, (count,), generator=rng).float()
    x = torch.cat([special.repeat_interleave(len(SPECIAL)), random(), uniform(0, 5), uniform(0.9, 1.1),
                   uniform(-20, 20), uniform(-80, 80).exp()])  # fmt: skip
    y = torch.cat([special.repeat(len(SPECIAL)), random(), uniform(-40, 40), uniform(-800, 800), whole,
                   uniform(-2, 2)])  # fmt: skip
    check(call(library, name, x, y), exact(name, x, y), ULPS_2[name], x, y)


def test_bounded(library: ctypes.CDLL) -> None:
    """Results that callers divide by or take roots of stay inside their range."""
    x = numbers()
    for name, low, high in (("tanh", -1, 1), ("erf", -1, 1), ("sigmoid", 0, 1), ("sin", -1, 1), ("cos", -1, 1),
                            ("erfc", 0, 2)):  # fmt: skip
        y = call(library, name, x)
        inside = y.isnan() | ((y >= low) & (y <= high))
        assert inside.all(), f"{name} leaves [{low}, {high}] at {x[~inside][:3].tolist()}"
    assert call(library, "exp", torch.zeros(16)).eq(1).all()
    assert call(library, "log", torch.ones(16)).eq(0).all()


def test_no_calls(tmp_path: Path) -> None:
    """The object of the common functions refers to no other symbol: nothing goes through the C library."""
    if shutil.which("g++") is None or shutil.which("nm") is None:
        pytest.skip("g++ and nm are needed")
    source = "#define KW_SERIAL\n#include <kw/math.h>\n" + "".join(UNARY.format(name) for name in sorted(VECTOR))
    (tmp_path / "some.cpp").write_text(source)
    flags = [flag for flag in FLAGS if flag != "-shared"]
    command = ["g++", *flags, "-march=native", f"-I{INCLUDE}", "-c", "some.cpp", "-o", "some.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    undefined = subprocess.run(["nm", "-u", "some.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert undefined.replace("_GLOBAL_OFFSET_TABLE_", "").split() in ([], ["U"])
