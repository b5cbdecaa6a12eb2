"""The contractions that benchmarks/contraction.py times: products, and the layers of well-known networks.

Every case is a plain PyTorch call on random tensors and the other libraries' ways to compute the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

Call = Callable[[], object]


@dataclass(frozen=True)
class Layer:
    """``fn(*args)`` is what eager runs; ``rivals`` further libraries on the same tensors."""

    group: str
    label: str
    fn: Callable[..., torch.Tensor]
    args: tuple[torch.Tensor, ...]
    rivals: dict[str, Call] = field(default_factory=dict)


def layers() -> Iterator[Layer]:
    """All cases, by family."""
    yield from _products()
    yield from _batched()
    yield from _residual()
    yield from _stacked()
    yield from _depthwise()
    yield from _grouped()
    yield from _other_ranks()
    yield from _transposed()
    yield from _asymmetric()
    yield from _epilogues()
    yield from _half()


# ── products ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _product(m: int, n: int, k: int, form: str = "nn", dtype: torch.dtype = torch.float32) -> Layer:
    """``form``: "t" where an operand is stored transposed; "nt" is the product of a linear layer."""
    a = _random(k, m, dtype=dtype).t() if form[0] == "t" else _random(m, k, dtype=dtype)
    b = _random(n, k, dtype=dtype).t() if form[1] == "t" else _random(k, n, dtype=dtype)
    rivals: dict[str, Call] = {}
    if form == "nt" and dtype != torch.float16:  # oneDNN has no product of float16 on most processors
        linear, weight = torch.ops.mkldnn._linear_pointwise, b.t()
        rivals["onednn"] = lambda: linear(a, weight, None, "none", [], "")
    if dtype == torch.float32:
        left, right, out = a.numpy(), b.numpy(), np.empty((m, n), np.float32)
        if torch.get_num_threads() == 1:  # its own pool would keep the cores busy while the others are timed
            rivals["openblas"] = lambda: np.matmul(left, right, out=out)
    kind = "" if dtype == torch.float32 else f" {str(dtype).removeprefix('torch.')}"
    return Layer("matmul", f"{form} {m}x{n}x{k}{kind}", torch.mm, (a, b), rivals)


def _products() -> Iterator[Layer]:
    for size in (512, 1024, 2048):
        for form in ("nn", "nt", "tn"):
            yield _product(size, size, size, form)
    yield _product(4096, 4096, 4096)
    yield _product(1000, 777, 513)
    yield _product(333, 1111, 257, "nt")
    yield _product(1024, 3072, 768, "nt")
    yield _product(16, 4096, 4096, "nt")
    yield _product(64, 4096, 1024, "nt")
    yield _product(8192, 4096, 64)
    yield _product(64, 64, 60000, "tn")
    yield _product(20000, 32, 128)
    matrix, vector = _random(4096, 4096), _random(4096)
    for label, left in (("mk,k->m", matrix), ("km,k->m", matrix.t())):
        flat, point, out = left.numpy(), vector.numpy(), np.empty(4096, np.float32)
        rivals = (
            {"openblas": functools.partial(np.matmul, flat, point, out=out)} if torch.get_num_threads() == 1 else {}
        )
        yield Layer("matvec", f"{label} 4096", torch.mv, (left, vector), rivals)


def _batched() -> Iterator[Layer]:
    for spec, left, right in (
        ("nn", (96, 128, 128), (96, 128, 64)), ("nt", (96, 128, 64), (96, 128, 64)),
        ("nn", (2000, 16, 16), (2000, 16, 16)), ("nn", (16, 512, 512), (16, 512, 512)),
        ("nn", (32, 197, 197), (32, 197, 64)),
    ):  # fmt: skip
        a, b = _random(*left), _random(*right)
        yield Layer("bmm", f"{spec} {left} {right}", torch.bmm, (a, b.transpose(1, 2) if spec == "nt" else b))


# ── convolutions ─────────────────────────────────────────────────────────────────────────────────────────────────

_CONVS: dict[int, Callable[..., torch.Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_BACK: dict[int, Callable[..., torch.Tensor]] = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}


def _conv(
    group: str, x: tuple[int, ...], out: int, kernel: int | tuple[int, ...], last: bool = False, **o: Any
) -> Layer:
    """A convolution of ``out`` channels; "same" padding of an odd window unless ``padding`` says otherwise."""
    rank = len(x) - 2
    taps = (kernel,) * rank if isinstance(kernel, int) else kernel
    dilation = o.get("dilation", 1)
    o.setdefault("padding", tuple((t - 1) * dilation // 2 for t in taps))
    value, weight = _random(*x), _random(out, x[1] // o.get("groups", 1), *taps)
    if last:
        value, weight = (t.contiguous(memory_format=torch.channels_last) for t in (value, weight))
    function = _CONVS[rank + 2]
    said = "".join(f" {k}{v}" for k, v in sorted(o.items()) if v != 1 and k != "padding")
    label = f"{'x'.join(map(str, x))} -> {out}, {'x'.join(map(str, taps))}{said}{' channels_last' if last else ''}"
    return Layer(group, label, lambda a, w: function(a, w, None, **o), (value, weight))


def _residual() -> Iterator[Layer]:
    for images in (1, 8):
        for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
            yield _conv("resnet", (images, channels, size, size), channels, 3)
    yield _conv("resnet", (16, 256, 14, 14), 256, 3)
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        yield _conv("resnet", (8, channels, size, size), channels * 4, 1)
        yield _conv("resnet", (8, channels * 4, size, size), channels, 1)
    for channels, size in ((64, 56), (128, 28), (256, 14)):
        yield _conv("resnet", (8, channels, size, size), channels * 2, 3, stride=2)
    yield _conv("resnet", (8, 256, 56, 56), 512, 1, stride=2, padding=0)
    for images in (1, 8):
        yield _conv("resnet", (images, 3, 224, 224), 64, 7, stride=2)


def _stacked() -> Iterator[Layer]:
    yield _conv("vgg", (1, 3, 224, 224), 64, 3)
    yield _conv("vgg", (1, 64, 224, 224), 64, 3)
    yield _conv("vgg", (1, 256, 56, 56), 256, 3)
    yield _conv("vgg", (4, 512, 14, 14), 512, 3)
    yield _conv("densenet", (8, 128, 28, 28), 32, 3)
    yield _conv("densenet", (8, 512, 14, 14), 128, 1)
    yield _conv("unet", (1, 32, 256, 256), 32, 3)
    yield _conv("unet", (1, 128, 128, 128), 64, 3)
    yield _conv("unet", (4, 1, 256, 256), 16, 3)
    yield _conv("dilated", (8, 64, 56, 56), 64, 3, dilation=2)
    yield _conv("dilated", (2, 256, 28, 28), 256, 3, dilation=4)
    yield _conv("channels_last", (8, 64, 56, 56), 64, 3, last=True)
    yield _conv("channels_last", (8, 256, 14, 14), 256, 3, last=True)


def _depthwise() -> Iterator[Layer]:
    for channels, size, stride in ((32, 112, 1), (96, 112, 2), (144, 56, 1), (384, 14, 1), (576, 14, 2), (960, 7, 1)):
        yield _conv("depthwise", (8, channels, size, size), channels, 3, stride=stride, groups=channels)
    yield _conv("depthwise", (8, 144, 56, 56), 144, 3, groups=144, last=True)
    yield _conv("depthwise", (8, 384, 14, 14), 384, 3, groups=384, last=True)
    yield _conv("depthwise", (8, 96, 56, 56), 96, 7, groups=96)
    yield _conv("depthwise", (8, 768, 7, 7), 768, 7, groups=768)
    yield _conv("depthwise", (2, 64, 56, 56), 64, 31, groups=64)
    yield _conv("pointwise", (8, 32, 112, 112), 16, 1)
    yield _conv("pointwise", (8, 144, 56, 56), 24, 1)
    yield _conv("pointwise", (8, 96, 14, 14), 576, 1)
    yield _conv("pointwise", (8, 320, 7, 7), 1280, 1)


def _grouped() -> Iterator[Layer]:
    for groups in (2, 4, 8, 32):
        yield _conv("grouped", (8, 128, 28, 28), 128, 3, groups=groups)
    yield _conv("grouped", (8, 256, 14, 14), 256, 3, groups=32)
    yield _conv("grouped", (8, 256, 28, 28), 512, 3, groups=32, stride=2)


def _other_ranks() -> Iterator[Layer]:
    yield _conv("conv1d", (8, 64, 4000), 64, 5)
    yield _conv("conv1d", (8, 1, 16000), 64, 80, stride=4, padding=38)
    yield _conv("conv1d", (4, 512, 3000), 512, 3, stride=2)
    causal, weight = _random(8, 64, 4000), _random(64, 64, 3)
    yield Layer(
        "conv1d", "8x64x4000 -> 64, 3 causal dilation 8",
        lambda a, w: F.conv1d(F.pad(a, (16, 0)), w, dilation=8), (causal, weight),
    )  # fmt: skip
    yield _conv("conv3d", (2, 16, 16, 32, 32), 32, 3)
    yield _conv("conv3d", (1, 64, 8, 28, 28), 64, 3)
    yield _conv("conv3d", (2, 3, 16, 64, 64), 32, 3, stride=2)


def _back(x: tuple[int, ...], out: int, kernel: int | tuple[int, ...], **o: Any) -> Layer:
    groups, rank = o.get("groups", 1), len(x) - 2
    taps = (kernel,) * rank if isinstance(kernel, int) else kernel
    function = _BACK[rank + 2]
    said = "".join(f" {k}{v}" for k, v in sorted(o.items()) if v != 1)
    label = f"{'x'.join(map(str, x))} -> {out}, {'x'.join(map(str, taps))}{said}"
    args = (_random(*x), _random(x[1], out // groups, *taps))
    return Layer("transposed", label, lambda a, w: function(a, w, None, **o), args)


def _transposed() -> Iterator[Layer]:
    yield _back((8, 64, 32, 32), 64, 3, padding=1)
    yield _back((8, 64, 32, 32), 32, 4, stride=2, padding=1)
    yield _back((8, 256, 14, 14), 128, 2, stride=2)
    yield _back((8, 64, 32, 32), 64, 3, stride=2, padding=1, output_padding=1)
    yield _back((8, 64, 32, 32), 64, 3, padding=2, dilation=2)
    yield _back((8, 64, 32, 32), 64, 4, stride=2, padding=1, groups=4)
    yield _back((8, 64, 28, 28), 64, (3, 5), padding=(1, 2))
    yield _back((2, 32, 8, 16, 16), 32, 3, padding=1)
    yield _back((2, 32, 8, 16, 16), 16, 4, stride=2, padding=1)
    yield _back((2, 32, 8, 16, 16), 32, 3, stride=2, padding=1, output_padding=1, groups=4)
    yield _back((8, 64, 500), 32, 8, stride=4, padding=2)


def _asymmetric() -> Iterator[Layer]:
    yield _conv("asymmetric", (8, 128, 17, 17), 128, (1, 7))
    yield _conv("asymmetric", (8, 128, 17, 17), 128, (7, 1))
    yield _conv("asymmetric", (8, 64, 40, 60), 64, (3, 5), stride=(2, 1), padding=(1, 0))
    yield _conv("asymmetric", (3, 37, 29, 41), 53, 3)


# ── what follows a product; narrow storage ───────────────────────────────────────────────────────────────────────


def _epilogues() -> Iterator[Layer]:
    x, w, bias, shift = _random(8, 64, 56, 56), _random(64, 64, 3, 3), _random(64), _random(8, 64, 56, 56)
    yield Layer(
        "fused", "conv 8x64x56x56 -> 64, 3x3 + bias, relu",
        lambda a, b, c: F.conv2d(a, b, c, padding=1).relu(), (x, w, bias),
    )  # fmt: skip
    yield Layer(
        "fused", "conv 8x64x56x56 -> 64, 3x3 + bias + residual, relu",
        lambda a, b, c, d: (F.conv2d(a, b, c, padding=1) + d).relu(), (x, w, bias, shift),
    )  # fmt: skip
    a, b, c = _random(1024, 768), _random(3072, 768), _random(3072)
    yield Layer("fused", "linear 1024x3072x768, gelu", lambda x, w, b: F.gelu(F.linear(x, w, b)), (a, b, c))


def _half() -> Iterator[Layer]:
    for dtype in (torch.bfloat16, torch.float16):
        yield _product(512, 512, 512, "nt", dtype)
        yield _product(1024, 1024, 1024, "nn", dtype)
        yield _product(1024, 3072, 768, "nt", dtype)
    x, w = _random(8, 128, 28, 28, dtype=torch.bfloat16), _random(128, 128, 3, 3, dtype=torch.bfloat16)
    yield Layer("half", "conv 8x128x28x28 -> 128, 3x3 bfloat16", lambda a, b: F.conv2d(a, b, padding=1), (x, w))


def _random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape).to(dtype)
