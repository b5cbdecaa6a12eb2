"""Every float32 function, densely over all bit patterns and where it is hardest, against torch in float64."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch

from .harness import compile_library

# name -> units in the last place allowed
UNARY = {
    "exp": 1.5, "exp2": 1.5, "expm1": 2, "sigmoid": 3, "tanh": 3, "sinh": 3, "cosh": 3, "log": 1.5, "log2": 2,
    "log10": 3, "log1p": 1.5, "asinh": 3, "acosh": 3, "atanh": 3, "sin": 2, "cos": 2, "tan": 4, "asin": 3, "acos": 2,
    "atan": 3, "erf": 3, "erfc": 5, "sqrt": 0.51, "rsqrt": 1.5, "reciprocal": 0.51, "floor": 0, "ceil": 0, "trunc": 0,
    "round": 0, "sign": 0, "abs": 0, "lgamma": 0,
}  # fmt: skip
BINARY = {"pow": 1.0, "atan2": 3, "fmod": 0.51, "copysign": 0, "fmax": 0, "fmin": 0, "maximum": 0, "minimum": 0}
SLOW_ALONE = ("lgamma",)  # the C library's own; only its wiring is checked

LOOP = 'extern "C" void f_{n}(const float* x, const float* z, float* y, int64_t n) {{ (void)z; \n'
LOOP += "  for (int64_t i = 0; i < n; i += 16) kw::store(y + i, kw::{n}({a})); }}\n"


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    text = "#include <kw/math.h>\n"
    text += "".join(LOOP.format(n=n, a="kw::load(x + i)") for n in UNARY)
    text += "".join(LOOP.format(n=n, a="kw::load(x + i), kw::load(z + i)") for n in BINARY)
    return compile_library(text)


def call(library: ctypes.CDLL, name: str, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
    y = torch.empty_like(x)
    function = library[f"f_{name}"]
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
    function(x.data_ptr(), z.data_ptr() if z is not None else None, y.data_ptr(), x.numel())
    return y


def samples() -> torch.Tensor:
    """Bit patterns all over float32, every special value, and dense lines where functions change their method."""
    patterns = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    special = np.array(
        [0, 1 << 31, 1, 0x80000001, 0x7F800000, 0xFF800000, 0x7FC00000, 0x3F800000, 0xBF800000, 0x7F7FFFFF, 0x00800000],
        np.uint32,
    )
    bits = torch.from_numpy(np.concatenate([patterns, special]).view(np.float32).copy())
    lines = [torch.linspace(-r, r, 1 << 17) for r in (1.0, 12.0, 110.0)]
    around_one = 1 + torch.linspace(-1e-3, 1e-3, 1 << 14)
    x = torch.cat([bits, *lines, around_one])
    return x[: x.numel() // 16 * 16].clone()


def units(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Error in units in the last place; infinite where a NaN or an infinity is wrong."""
    narrow = wanted.float()
    spacing = torch.from_numpy(np.spacing(np.abs(narrow.numpy()))).double()
    error = (found.double() - wanted).abs() / spacing
    error = torch.where(torch.isfinite(narrow), error, torch.zeros_like(error))
    same = torch.isfinite(narrow) | (found == narrow) | (torch.isnan(found) & torch.isnan(narrow))
    agrees = same & (torch.isnan(found) == torch.isnan(narrow))
    return torch.where(agrees, error, torch.full_like(error, float("inf")))


@pytest.mark.parametrize("name", sorted(UNARY))
def test_unary(library: ctypes.CDLL, name: str) -> None:
    x = torch.linspace(0.1, 30, 1600) if name in SLOW_ALONE else samples()
    found = call(library, name, x)
    wanted = getattr(torch, name)(x if name in SLOW_ALONE else x.double()).double()
    error = units(found, wanted)
    if name in SLOW_ALONE:
        assert torch.allclose(found.double(), wanted, rtol=1e-5, atol=1e-5)
        return
    worst = int(error.argmax())
    assert error[worst] <= UNARY[name], (x[worst].item(), found[worst].item(), wanted[worst].item())


@pytest.mark.parametrize("name", sorted(BINARY))
def test_binary(library: ctypes.CDLL, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    pool = samples()
    pairs = [
        [pool[torch.randint(pool.numel(), (1 << 16,), generator=generator)] for _ in range(2)],
        [torch.rand(1 << 16, generator=generator) * 10, torch.randn(1 << 16, generator=generator) * 5],
        [torch.randn(1 << 16, generator=generator), torch.randint(-4, 5, (1 << 16,), generator=generator).float()],
    ]
    for x, z in pairs:
        found, wanted = call(library, name, x, z), getattr(torch, name)(x.double(), z.double())
        error = units(found, wanted)
        worst = int(error.argmax())
        assert error[worst] <= BINARY[name], (x[worst].item(), z[worst].item(), found[worst].item())


def test_signs_of_zero_survive(library: ctypes.CDLL) -> None:
    x = torch.tensor([-0.0] * 16)
    for name in ("expm1", "tanh", "sinh", "log1p", "asinh", "atanh", "sin", "tan", "asin", "atan", "erf", "trunc"):
        assert torch.signbit(call(library, name, x)).all(), name
