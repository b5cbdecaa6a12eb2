"""Lowered and fused programs compute what PyTorch computes, and nothing that should be lowered stays an ATen call.

Many operations share one test where each is one output: tracing costs more than the comparison.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kernelwright.compiler.capture import capture
from kernelwright.compiler.lower import lower
from kernelwright.compiler.lower._driver import HANDLERS
from kernelwright.compiler.program import Extern

from .oracle import check

nn = torch.nn
INF = float("inf")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(*shape)


def above(*shape: int) -> torch.Tensor:
    return torch.rand(*shape) + 0.5


# ── pointwise ──

ACTIVATIONS = (
    "relu", "gelu", "silu", "mish", "softplus", "elu", "selu", "celu", "hardtanh", "hardsigmoid", "hardswish",
    "logsigmoid", "leaky_relu", "softsign", "tanhshrink", "hardshrink", "softshrink", "relu6", "sigmoid", "tanh",
)  # fmt: skip
UNARY = (
    "abs", "neg", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh",
    "atanh", "erf", "erfc", "lgamma", "sign", "reciprocal", "floor", "ceil", "trunc", "round", "log2", "log10", "log1p",
    "expm1", "exp2", "square", "frac", "logit",
)  # fmt: skip
BINARY = (
    "add", "sub", "mul", "div", "pow", "fmod", "remainder", "minimum", "maximum", "atan2", "eq", "lt", "ge", "fmin",
    "fmax", "copysign",
)  # fmt: skip


def test_activations() -> None:
    check(lambda x: [getattr(F, name)(x) for name in ACTIVATIONS], rand(4, 7))


def test_activations_with_parameters() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            F.gelu(x, approximate="tanh"), F.threshold(x, 0.1, 20.0), F.glu(x, 1), F.elu(x, 0.7), F.softplus(x, 2, 1),
            F.leaky_relu(x, 0.3), F.hardtanh(x, -0.3, 0.4), F.rrelu(x), F.celu(x, 1.3),
        ]  # fmt: skip

    check(fn, rand(3, 8))
    check(nn.PReLU(5), rand(2, 5, 3))


def test_unary() -> None:
    check(lambda x: [getattr(torch, name)(x) for name in UNARY], torch.rand(4, 5) * 0.8 + 0.1)


def test_binary_broadcasts() -> None:
    check(lambda x, y: [getattr(torch, name)(x, y) for name in BINARY], above(4, 1, 5), above(3, 5))


def test_scalars_and_powers() -> None:
    check(lambda x: [2 - x, x * 3, x / 4, x / 3, 1 / x, x**2, x**3, x**0.5, x**-1, x**2.5, 2**x, -x // 1], above(3, 5))


def test_integers() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [
            x // y, x % y, x & y, x | y, x ^ y, ~x, x << 1, x >> 1, x / y, torch.div(x, y, rounding_mode="trunc"), -x,
            abs(x), x.sum(1), x.cumsum(0), x.prod(1), x.amax(), x.float() * 0.5, x > y, x @ x.t(), x.clamp(-3, 3),
        ]  # fmt: skip

    check(fn, torch.randint(-20, 20, (5, 6)), torch.randint(1, 7, (6,)))


def test_booleans() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        a, b = x > 0, y > 0
        return [a & b, a | b, ~a, a ^ b, torch.logical_not(x), a.float() * 2, a + b, a.sum(), a.any(1), a.all(), a * b]

    check(fn, rand(3, 4), rand(3, 4))


def test_choices_and_casts() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [
            torch.where(x > 0, x, y * 2), torch.where(x > 0, 1.0, x), x.masked_fill(x > 0, -1e9), x.to(torch.int64),
            x.clamp(-0.5, 0.5) + x.clamp(min=0) + x.clamp(max=y), torch.lerp(x, y, 0.3), (x > 0).int(), x.int().float(),
            torch.addcmul(x, y, x, value=0.5) + torch.addcdiv(x, y, x.abs() + 1, value=2),
        ]  # fmt: skip

    check(fn, rand(3, 4) * 3, rand(4))


def test_special_values() -> None:
    x = torch.tensor([1.0, float("nan"), float("inf"), -float("inf"), 0.0])
    check(lambda x: [x.isnan(), x.isinf(), x.isfinite(), torch.nan_to_num(x, 0.0, 1.0, -1.0), F.relu(x), x.amax()], x)


# ── views and movement ──


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


# ── reductions ──


def test_reductions() -> None:
    def fn(x: torch.Tensor) -> list[Any]:
        names = ("sum", "mean", "prod", "amax", "amin", "argmax", "argmin")
        along = [getattr(torch, name)(x, 1) for name in names]
        kept = [getattr(torch, name)(x, -1, keepdim=True) for name in names]
        whole = [getattr(torch, name)(x) for name in (*names, "max", "min", "var", "std")]
        return [along, kept, whole, x.sum((0, 2)) + x.mean((0, 2)), tuple(x.max(1)), x.min(0, keepdim=True).values]

    check(fn, rand(3, 5, 2))


def test_moments_and_norms() -> None:
    def fn(x: torch.Tensor) -> list[Any]:
        return [
            x.var((0, 2)), x.std(1, unbiased=False), torch.var_mean(x, 1, keepdim=True), torch.std_mean(x), x.norm(),
            x.norm(1, 1), x.norm(float("inf"), 1), torch.linalg.vector_norm(x, 3, 1), torch.linalg.vector_norm(x, 0, 1),
            torch.logsumexp(x, (1,), keepdim=True) - x, torch.count_nonzero(x > 0, 1), F.normalize(x, dim=1),
            F.cosine_similarity(x, x + 1), F.pairwise_distance(x, x * 2), torch.cdist(x, x * 2),
        ]  # fmt: skip

    check(fn, rand(3, 5, 2))


def test_logsumexp_of_infinities() -> None:
    check(lambda x: torch.logsumexp(x, 1), torch.tensor([[-float("inf")] * 2, [float("inf"), 1.0], [1.0, 2.0]]))


def test_softmax() -> None:
    check(lambda x: [F.softmax(x, 1), F.log_softmax(x, 0), F.softmin(x, -1)], rand(3, 5, 4))


def test_scans() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        shifted = torch.cat([torch.zeros(3, 1, dtype=x.dtype), x.cumsum(1)[:, :-1]], 1)
        return [
            x.cumsum(1),
            x.cumprod(0),
            torch.logcumsumexp(x, 1),
            x.cummax(1).values,
            shifted,
            (x * (x > 0)).cumsum(1),
        ]

    check(fn, rand(3, 5))


def test_empty_reductions() -> None:
    check(lambda x: [x.sum(0), x.prod(0), x.mean(0), x * 2, (x > 0).any(0)], torch.empty(0, 4))


# ── normalisation ──


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.LayerNorm((4, 5)), (3, 4, 5)), (nn.RMSNorm(5, eps=1e-6), (3, 5)), (nn.BatchNorm1d(4), (6, 4)),
        (nn.BatchNorm3d(4).eval(), (2, 4, 3, 3, 3)), (nn.BatchNorm2d(4, track_running_stats=False), (2, 4, 3, 3)),
        (nn.InstanceNorm2d(4, affine=True), (2, 4, 5, 3)), (nn.GroupNorm(2, 4), (2, 4, 5, 3)),
        (nn.LocalResponseNorm(2), (2, 4, 5, 5)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_norms(module: nn.Module, shape: tuple[int, ...]) -> None:
    check(module, rand(*shape))


def test_batch_norm_updates_its_buffers() -> None:
    from kernelwright.compiler.capture import capture
    from kernelwright.compiler.fuse import fuse
    from kernelwright.compiler.interpret import interpret
    from kernelwright.compiler.lower import lower

    from .oracle import bound, eager

    module, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), rand(3, 3, 6, 6)
    before = {name: value.clone() for name, value in module.named_buffers()}
    captured = capture(module, (x,))
    program = fuse(lower(captured))
    result = interpret(program, bound(captured, program, module, (x,)), torch.float64)
    _, after = eager(module, (x,))
    assert {name for _, name in captured.mutations} == {name for name, _ in module.named_buffers()}
    for output, name in captured.mutations:
        torch.testing.assert_close(result[output], dict(after.named_buffers())[name])
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())


# ── pooling ──


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pooling(dims: int) -> None:
    largest, average = getattr(F, f"max_pool{dims}d"), getattr(F, f"avg_pool{dims}d")
    adaptive, adaptive_largest = getattr(F, f"adaptive_avg_pool{dims}d"), getattr(F, f"adaptive_max_pool{dims}d")

    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            largest(x, 3, 2, 1), largest(x, 3, 2, ceil_mode=True), largest(x, 2, 1, dilation=2), average(x, 3, 2, 1),
            average(x, 3, 2, 1, ceil_mode=True), average(x, 3, 2, 1, count_include_pad=False), average(x, 2),
            average(x, 2, ceil_mode=True, count_include_pad=False), adaptive(x, 1), adaptive(x, 4),
            adaptive_largest(x, 1), adaptive_largest(x, 4),
        ]  # fmt: skip

    check(fn, rand(2, 3, *(9, 8, 7)[:dims]))


@pytest.mark.parametrize(("sizes", "outs"), [((7,), (3,)), ((9, 8), (4, 4)), ((5, 7), (7, 3)), ((6, 5, 4), (4, 5, 3))])
def test_adaptive_pooling_of_uneven_windows(sizes: tuple[int, ...], outs: tuple[int, ...]) -> None:
    x = rand(2, 3, *sizes)
    x[0, 1], x[1, 2].view(-1)[3] = -INF, float("nan")
    dims = len(sizes)
    average, largest = getattr(F, f"adaptive_avg_pool{dims}d"), getattr(F, f"adaptive_max_pool{dims}d")
    check(lambda x: [average(x, outs), largest(x, outs), average(x[0], outs)], x)
    check(lambda x: average(x, outs), x.transpose(0, 1))


def test_positions_of_running_extrema() -> None:
    x = torch.randint(-3, 3, (3, 9, 4)).float()
    x[1, 4:6, 2], x[2, 0, 1] = float("nan"), -INF
    check(lambda x: [*torch.cummax(x, 1), *torch.cummin(x, -1), *torch.cummax(x.transpose(0, 2), 0)], x)
    check(lambda x: [*torch.cummax(x, 0), *torch.cummin(x, 1)], torch.randint(-3, 3, (5, 6)))
    check(lambda x: torch.cummax(x, 1), rand(3, 1))


def test_counting_boundaries() -> None:
    x = torch.cat((rand(30), torch.tensor([INF, -INF, float("nan"), 0.5, -0.5]))).view(5, 7)

    def fn(x: torch.Tensor, edges: torch.Tensor) -> list[torch.Tensor]:
        return [
            torch.bucketize(x, edges), torch.bucketize(x, edges, right=True, out_int32=True),
            torch.searchsorted(edges, x.t()), torch.searchsorted(edges, x, side="right"),
        ]  # fmt: skip

    check(fn, x, torch.tensor([-1.0, -0.5, -0.5, 0.5, 2.0]))
    check(fn, torch.randint(-9, 9, (4, 5)), torch.tensor([-3, 0, 0, 7]))


def test_pooling_positions_and_divisors() -> None:
    def fn(x: torch.Tensor) -> list[Any]:
        both = F.max_pool2d(x, 3, 2, 1, return_indices=True)
        return [
            *both,
            F.avg_pool2d(x, 2, divisor_override=3),
            F.adaptive_avg_pool2d(x, (3, 4)),
            F.lp_pool2d(x.abs(), 2, 2),
        ]

    check(fn, rand(2, 3, 9, 8))


# ── contractions ──


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


def test_a_fault_in_one_lowering_leaves_that_operation_to_aten(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(low: object, self: object) -> object:
        raise IndexError("no such axis")

    monkeypatch.setitem(HANDLERS, "erf", fail)
    program = lower(capture(lambda x: torch.erf(x + 1) * 2, (rand(3, 4),)))
    assert [s.op for s in program.statements if isinstance(s, Extern)] == ["aten.erf.default"]


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


# ── losses, resampling, attention ──


def test_losses() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor, q: torch.Tensor) -> list[torch.Tensor]:
        names = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "poisson_nll_loss")
        simple = [getattr(F, n)(x, y, reduction=r) for n in names for r in ("mean", "none")]
        return [
            *simple, F.kl_div(x, p, reduction="batchmean"), F.kl_div(x, y, log_target=True),
            F.binary_cross_entropy(p, q),
            F.binary_cross_entropy_with_logits(x, p, pos_weight=q[0]), F.hinge_embedding_loss(x, y),
            F.cosine_embedding_loss(x, y, y[:, 0]), F.triplet_margin_loss(x, y, p), F.margin_ranking_loss(x, p, y),
            F.multilabel_soft_margin_loss(x, p.round()), F.cross_entropy(x, p),
        ]  # fmt: skip

    check(fn, rand(3, 4), rand(3, 4).sign(), torch.rand(3, 4) * 0.9 + 0.05, torch.rand(3, 4))


def test_class_losses() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
        return [
            F.cross_entropy(x, y), F.cross_entropy(x, y, ignore_index=0), F.cross_entropy(x, y, w), F.nll_loss(x, y),
            F.cross_entropy(x, y, label_smoothing=0.1), F.cross_entropy(x, y, reduction="none"),
            F.multi_margin_loss(x, y),
        ]  # fmt: skip

    check(fn, rand(3, 5), torch.tensor([1, 0, 4]), torch.rand(5))
    check(F.cross_entropy, rand(3, 5, 2, 2), torch.randint(0, 5, (3, 2, 2)))


def test_resampling() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        modes = ("nearest", "bilinear", "bicubic", "area", "nearest-exact")
        both = [F.interpolate(x, scale_factor=2, mode=m) for m in modes] + [
            F.interpolate(x, (7, 3), mode=m) for m in modes
        ]
        corners = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return [*both, corners, F.interpolate(x[:, :, 0], scale_factor=3), F.unfold(x, 3, padding=1)]

    check(fn, rand(2, 3, 4, 5))


def test_attention() -> None:
    attend = F.scaled_dot_product_attention

    def fn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor) -> list[torch.Tensor]:
        grouped = attend(q, k[:, :2], v[:, :2], enable_gqa=True)
        return [attend(q, k, v), attend(k, k, v, is_causal=True), attend(q, k, v, m), attend(q, k, v, m > 0), grouped]

    mask = torch.tensor([[1, 0, 1, 1, 0.0], [1, 1, 1, 1, 0.0], [0, 0, 0, 0, 1]])
    check(fn, rand(2, 4, 3, 4), rand(2, 4, 5, 4), rand(2, 4, 5, 4), mask)


def test_transformer_layers() -> None:
    check(nn.MultiheadAttention(8, 2, batch_first=True), rand(2, 3, 8), rand(2, 3, 8), rand(2, 3, 8))
    check(nn.TransformerDecoderLayer(8, 2, 16).eval(), rand(3, 2, 8), rand(4, 2, 8))


# ── ATen calls ──


@pytest.mark.parametrize(
    ("fn", "args", "note"),
    [
        (nn.LSTM(3, 1, 2, batch_first=True), (rand(5, 2, 3),), "aten.lstm.input"),
        (nn.GRU(3, 1, bidirectional=True), (rand(5, 2, 3),), "aten.gru.input"),
        (lambda x: (x * 2).sort(1)[0] + 1, (rand(3, 4),), "aten.sort.default"),
    ],
    ids=["lstm", "gru", "sort"],
)
def test_what_has_no_lowering_is_one_named_aten_call(fn: Any, args: tuple[Any, ...], note: str) -> None:
    program = check(fn, *args, extern=True)
    assert program.notes == (note,)
