"""The elementary functions on float64 lanes, against extended precision, with every compiler."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest

from kernelwright.targets.cpu import INCLUDE
from kernelwright.targets.cpu._build import FLAGS

# The largest error allowed, in units in the last place; the C library's own are up to 1.
ULPS = {
    "exp": 1.0, "exp2": 1.2, "expm1": 2.0, "tanh": 2.5, "sigmoid": 2.3, "log": 1.0, "log2": 1.2, "log10": 2.0,
    "log1p": 1.5, "sin": 1.5, "cos": 1.5, "erf": 2.0,
}  # fmt: skip
SOURCE = """
extern "C" __attribute__((visibility("default"))) void {0}(const double* x, double* y, long n) {{
  for (long i = 0; i < n; i += kw::W) kw::store(y + i, kw::{0}(kw::load(x + i)));
}}
"""
COMPILERS = {"g++": (), "g++ without AVX-512": ("-mno-avx512f",), "clang": ()}
INF, NAN = np.inf, np.nan
SPECIAL = [0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 5e-324, -5e-324, 1e-310, 2.2250738585072014e-308, 1.797e308,
           -1.797e308, 709.78, 709.79, -708.4, -745.1, -745.2, -746.0, 1023.999, 1024.0, -1074.0, -1075.5, 1e5, 1e5 + 1,
           1e22, -1e300, -1 + 2**-53, 0.5, -0.5, 36.7, -36.8, 2**-54, -(2**-54), np.pi, np.pi / 2]  # fmt: skip


@pytest.fixture(scope="module", params=list(COMPILERS))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("wide")
    source = folder / "all.cpp"
    source.write_text("#define KW_SERIAL\n#include <kw/math.h>\n" + "".join(SOURCE.format(n) for n in ULPS))
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    if request.param == "clang" and importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed")
    clang = [sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=undefined"]
    compiler = clang if request.param == "clang" else ["g++"]
    flags = [*FLAGS, *COMPILERS[request.param], f"-I{INCLUDE}"]
    shared = [] if "-shared" in flags else ["-shared", "-fPIC"]
    subprocess.run([*compiler, *flags, *shared, "-w", str(source), "-o", str(folder / "all.so")], check=True)
    return ctypes.CDLL(str(folder / "all.so"))


def numbers() -> np.ndarray:
    """Every exponent, dense around one, what functions turn at, and pairs of special cases."""
    rng = np.random.default_rng(7)
    every = rng.integers(0, 2**64, 60_000, dtype=np.uint64).view(np.float64)
    turns = rng.integers(-60_000, 60_000, 20_000) * (np.pi / 2)
    near = [1 + rng.standard_normal(20_000) * 1e-3, rng.standard_normal(20_000) * 1e-5, turns, np.array(SPECIAL)]
    found = np.concatenate([every, rng.standard_normal(60_000), rng.uniform(-800, 800, 60_000), *near])
    return np.concatenate([found, np.ones(-len(found) % 16)])


def exact(name: str, x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.longdouble)
    if name == "sigmoid":
        small = np.exp(-np.abs(wide))
        return np.where(wide < 0, small, np.longdouble(1)) / (1 + small)
    if name == "erf":  # numpy has none; the C library's is right to a unit
        return np.array([math.erf(v) for v in x], dtype=np.longdouble)
    value = getattr(np, name)(wide)
    # Beyond that the lanes call the C library, which is better at it than extended precision.
    return np.where(np.abs(x) > 1e5, getattr(np, name)(x), value) if name in ("sin", "cos") else value


@pytest.mark.parametrize("name", ULPS)
def test_errors_are_a_unit_or_two(library: ctypes.CDLL, name: str) -> None:
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("this machine has no extended precision")
    x = numbers()
    got = np.empty_like(x)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (x, got)]
    getattr(library, name)(*pointers, ctypes.c_long(len(x)))
    with np.errstate(all="ignore"):
        want = exact(name, x)
        near = want.astype(np.float64)
        assert np.array_equal(np.isnan(got), np.isnan(near))
        there = np.isfinite(near) & np.isfinite(got)
        wrong = ~there & ~np.isnan(near) & (got != near) & (np.abs(near) < 1.7976931348623e308)
        assert not wrong.any(), (x[wrong][:3], got[wrong][:3], near[wrong][:3])
        unit = np.spacing(np.maximum(np.abs(near[there]), 2.2250738585072014e-308)).astype(np.longdouble)
        ulps = np.abs(got[there].astype(np.longdouble) - want[there]) / unit
    worst = int(ulps.argmax())
    assert ulps[worst] <= ULPS[name], (float(ulps[worst]), x[there][worst].hex(), got[there][worst])
    zero = near == 0
    assert np.array_equal(np.signbit(got[zero]), np.signbit(near[zero]))
