"""Views, joins, gathers and writes: what moves values and computes none."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kernelwright.compiler import prepare

from ..oracle import check
from .values import INF, rand


def test_views() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            x.permute(2, 0, 1) + 1, x.permute(2, 0, 1).reshape(4, 6) * 2, (x * 2).reshape(3, 8).t().reshape(-1),
            x[:, ::2, -3:] + x[0, :2, :3], x.flip(0, 2) * x, x.expand(5, 2, 3, 4) * 2, x.repeat(2, 1, 3) + 1,
            x.roll((1, -2), (0, 1)), x.roll(2), x.movedim(0, 2).contiguous(), x.unfold(2, 3, 1) * 2, x, x.mT,
            sum(x.unbind(1)), torch.cat(x.chunk(2, 2)[::-1], 0), x.diagonal(1, 1, 2), x[:, None], x.flatten(1)[:, 3:7],
            x[1].reshape(-1)[2:8].reshape(2, 3), x.squeeze().unsqueeze(-1).sum(0), x.view(2, 3, 2, 2)[:, :, 1] * 3,
        ]  # fmt: skip

    check(fn, rand(2, 3, 4))


def test_rearrangements() -> None:
    check(lambda x: [F.pixel_shuffle(x, 2) + 1, F.pixel_unshuffle(x, 2), F.channel_shuffle(x, 2)], rand(2, 8, 4, 6))
    check(lambda x: [torch.diag_embed(x), torch.diag(x[0]), torch.tril(x) + torch.triu(x, 1) * 2], rand(4, 5))


def test_joins() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [
            torch.cat([x, y * 2, x + 1], 1),
            torch.stack([x, x * 2], 1),
            torch.hstack([x, y]),
            torch.cat([x, x * 2]),
        ]

    check(fn, rand(3, 4), rand(3, 2))


def test_padding() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        modes = ("constant", "reflect", "replicate", "circular")
        padded = [F.pad(x, (1, 2, 2, 1), mode=mode) * 2 for mode in modes]
        cut = [F.pad(x, (-1, 2), value=3.0), F.pad(x, (1, -2, -1, -1)), F.pad(x, (0, -1)), F.pad(x, (3, -4), value=2.0)]
        return [*padded, *cut, F.pad(F.pad(x, (1, 1)), (2, 0), value=1.0)]

    check(fn, rand(2, 3, 5, 6))


def test_creation() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        made = torch.arange(4) + torch.eye(3, 4) + torch.full((4,), 2.0) + torch.linspace(0, 1, 4)
        return x + made + torch.ones_like(x) + x.new_zeros(4) + torch.tensor([1.0, 2.0, 3.0, 5.0])

    check(fn, rand(3, 4))


def test_gathers() -> None:
    def fn(x: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> list[torch.Tensor]:
        picks = [
            x[i],
            x[:, i],
            x[i, i],
            x[:, i.view(2, 1), i.view(1, 2)],
            x.index_select(1, j),
            F.embedding(j, x[:, 0]),
        ]
        return [*picks, x[:, 0].gather(1, j.view(1, 2)), F.one_hot(j, 5), torch.take_along_dim(x, j.view(1, 2, 1), 1)]

    check(fn, rand(4, 5, 6), torch.tensor([1, -2]), torch.tensor([0, 3]))


def test_few_gathered_values_are_computed_alone() -> None:
    def fn(x: torch.Tensor, j: torch.Tensor, t: torch.Tensor) -> list[torch.Tensor]:
        scores = (x * 2).log_softmax(1)
        return [
            scores.gather(1, j),
            F.cross_entropy(x, t),
            x.square().index_select(1, t[:2]),
            F.embedding(t[:2], x + 1),
        ]

    args = rand(8, 64), torch.arange(8).view(8, 1) * 5, torch.tensor([3, 0, 63, 7, -100, 7, 9, 1])
    check(fn, args[0], args[1], args[2])
    kept = prepare(lambda x, t: F.cross_entropy(x, t), (args[0], args[2])).program
    assert not any(t.shape == (8, 64) for t in kept.tensors.values() if t.role != "input")


def test_writes_into_copies() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[:, 1:3] = 0
        y[0] += 1
        y[:, 3] = x[:, 0]
        y *= 2
        return y

    check(fn, rand(3, 6))


@pytest.mark.parametrize(
    "x",
    [
        rand(5, 3).t(), rand(5, 8)[:, ::2], rand(3, 1).expand(3, 4), rand(2, 3, 4).permute(1, 2, 0), rand(1, 4),
        torch.empty(0, 4), rand(3, 4)[1:, 1:],
    ],
    ids=["transposed", "strided", "expanded", "permuted", "size-1", "empty", "offset"],
)  # fmt: skip
def test_layouts_of_inputs(x: torch.Tensor) -> None:
    check(lambda x: [x * 2, x.sum(0), x.reshape(-1) + 1, x.transpose(0, 1).contiguous(), x.softmax(-1)], x)


def test_counting_boundaries() -> None:
    x = torch.cat((rand(30), torch.tensor([INF, -INF, float("nan"), 0.5, -0.5]))).view(5, 7)

    def fn(x: torch.Tensor, edges: torch.Tensor) -> list[torch.Tensor]:
        return [
            torch.bucketize(x, edges), torch.bucketize(x, edges, right=True, out_int32=True),
            torch.searchsorted(edges, x.t()), torch.searchsorted(edges, x, side="right"),
        ]  # fmt: skip

    check(fn, x, torch.tensor([-1.0, -0.5, -0.5, 0.5, 2.0]))
    check(fn, torch.randint(-9, 9, (4, 5)), torch.tensor([-3, 0, 0, 7]))
