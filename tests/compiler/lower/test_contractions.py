"""Products, einsums and convolutions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kernelwright.compiler.capture import capture
from kernelwright.compiler.lower import lower

from ..oracle import check
from .values import rand


def test_matrix_products() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor, v: torch.Tensor) -> list[torch.Tensor]:
        return [
            x @ y, y.t() @ x.t() + 1, x @ v, v @ y, v.dot(v), torch.outer(v, x[0]), torch.relu(x) @ (y * 2),
            torch.addmm(y[0], x, y, beta=0.5, alpha=2), x[:, :1] @ y[:1], torch.tril(x @ x.t()) @ x, x[None] @ y[None],
        ]  # fmt: skip

    check(fn, rand(3, 4), rand(4, 5), rand(4))


def test_batched_products() -> None:
    check(lambda a, b: [a @ b, torch.baddbmm(a[0], a[0], b[0])], rand(2, 1, 3, 3), rand(2, 1, 3, 3))
    check(torch.matmul, rand(2, 1, 3, 4), rand(5, 4, 6))
    check(nn.Linear(4, 5), rand(2, 3, 4))
    check(nn.Bilinear(3, 4, 5), rand(2, 3), rand(2, 4))


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bij,bkj->bik", ((2, 3, 4), (2, 5, 4))), ("i,j->ij", ((3,), (4,))), ("ijk->ki", ((2, 3, 4),)),
        ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 5))), ("bn,anm,bm->ba", ((2, 3), (4, 3, 5), (2, 5))),
        ("bijl,lk->bijk", ((2, 3, 4, 5), (5, 6))), ("ij,kj->ikj", ((2, 3), (4, 3))), ("bl,blk", ((2, 3), (2, 3, 4))),
    ],
)  # fmt: skip
def test_einsum(equation: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    check(lambda *operands: torch.einsum(equation, *operands), *(rand(*s) for s in shapes))


def test_an_einsum_of_many_goes_from_left_to_right() -> None:
    """Taking the last two before the first result would spread them over a sixth index."""
    spec, shapes = "bln,bsn,bls,bsp->blp", ((2, 9, 4), (2, 8, 4), (2, 9, 8), (2, 8, 5))
    operands = tuple(rand(*shape) for shape in shapes)
    check(lambda *tensors: torch.einsum(spec, *tensors), *operands)
    program = lower(capture(lambda *tensors: torch.einsum(spec, *tensors), operands))
    assert max(math.prod(tensor.shape) for tensor in program.tensors.values()) <= 2 * 9 * 8


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions(dims: int) -> None:
    conv, turned = getattr(nn, f"Conv{dims}d"), getattr(nn, f"ConvTranspose{dims}d")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([
                conv(4, 6, 3), conv(4, 6, 3, stride=2, padding=1, dilation=2), conv(4, 6, 3, groups=2, padding="same"),
                conv(4, 8, 3, groups=4, padding=1, bias=False), conv(4, 5, 1), turned(4, 6, 3),
                turned(4, 6, 3, stride=2, padding=1, output_padding=1), turned(4, 6, 4, stride=3, groups=2, dilation=2),
                turned(4, 6, 1, stride=2),
            ])  # fmt: skip

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [layer(x) for layer in self.layers]

    check(Model(), rand(2, 4, *(9, 8, 7)[:dims]))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (2, 3, 5, 5)), (nn.Conv2d(3, 4, 3), (3, 5, 5)),
        (nn.Conv2d(3, 4, (3, 1), stride=(1, 2), padding=(0, 1)), (2, 3, 5, 6)), (nn.Conv2d(3, 4, 3), (0, 3, 5, 5)),
        (nn.Conv2d(1, 4, 3, padding=1), (1, 1, 5, 1)),
    ],
    ids=["circular", "unbatched", "asymmetric", "empty", "size-1"],
)  # fmt: skip
def test_odd_convolutions(module: nn.Module, shape: tuple[int, ...]) -> None:
    check(module, rand(*shape))
