"""Attention in its many spellings is one walk over the keys: right at ragged sizes, and compiled without spills."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from kernelwright.compiler import prepare
from kernelwright.compiler.triton import TritonKernel, emit_triton, triton_kernels
from kernelwright.compiler.triton.attention import AttentionSchedule
from kernelwright.targets import Candidate
from kernelwright.task import DynamicSize

from ...triton_lab import interpret, needs_triton

pytestmark = [needs_triton, pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")]

Function = Callable[..., torch.Tensor]
sdpa = F.scaled_dot_product_attention
SMALL = AttentionSchedule(16, 16)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def heads(*lengths: int, lead: tuple[int, ...] = (2, 3), sizes: tuple[int, ...] = (24, 24, 20)) -> list[torch.Tensor]:
    """Q, K and V for the given numbers of queries and keys."""
    queries, keys = lengths if len(lengths) == 2 else (lengths[0], lengths[0])
    return [draw(*lead, n, d) for n, d in zip((queries, keys, keys), sizes, strict=True)]


def attentions(made: tuple[object, ...]) -> list[int]:
    return [n for n, k in enumerate(made) if isinstance(k, TritonKernel) and k.attention is not None]


def check(fn: Function, args: list[torch.Tensor], schedule: AttentionSchedule = SMALL, unit: float = 4e-6) -> Candidate:
    """One kernel, and within rounding of what float64 gives, NaN where that has NaN."""
    with torch.no_grad():
        prepared = prepare(fn, tuple(args))
        kernels = list(triton_kernels(prepared))
        (position,) = attentions(tuple(kernels))
        found = kernels[position]
        assert isinstance(found, TritonKernel)
        kernels[position] = TritonKernel(found.group, (schedule,), found.attention)
        made = emit_triton(prepared, kernels=kernels)
        wanted = fn(*[a.double() if a.is_floating_point() else a for a in args])
        got = interpret(made, *args)
    for ours, theirs in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, wanted)), strict=True):
        assert torch.equal(ours.isnan(), theirs.isnan()), made.source
        scale = max(1.0, float(theirs.nan_to_num(0, 0, 0).abs().max()))
        assert float((ours.double() - theirs).nan_to_num(0, 0, 0).abs().max()) <= unit * scale, made.source
    return made


def softmax(scores: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.softmax(scores, -1) @ v


SPELLINGS: dict[str, tuple[Function, list[torch.Tensor]]] = {
    "fused": (lambda q, k, v: sdpa(q, k, v), heads(17, 35)),
    "causal": (lambda q, k, v: sdpa(q, k, v, is_causal=True), heads(37)),
    "bias": (lambda q, k, v, b: sdpa(q, k, v, attn_mask=b, scale=0.3), [*heads(17, 35), draw(3, 17, 35)]),
    "mask": (lambda q, k, v, m: sdpa(q, k, v, attn_mask=m), [*heads(17, 35), draw(17, 35) > 0]),
    "grouped": (
        lambda q, k, v: sdpa(q, k, v, enable_gqa=True),
        [draw(2, 4, 17, 24), draw(2, 2, 35, 24), draw(2, 2, 35, 24)],
    ),
    "plain": (lambda q, k, v: softmax(q @ k.T, v), heads(17, 35, lead=())),
    "window": (
        lambda q, k, v: softmax((q @ k.mT).masked_fill(_beyond(50, 5), -math.inf), v),
        heads(50, lead=(2,)),
    ),
    "packed": (lambda x: sdpa(*x.view(2, 17, 3, 4, 20).permute(2, 0, 3, 1, 4)).transpose(1, 2), [draw(2, 17, 240)]),
    "sigmoid": (lambda q, k, v: torch.sigmoid(q @ k.mT) @ v, heads(17, 35)),
    "squared relu": (lambda q, k, v: (q @ k.mT).relu().square() @ v, heads(17, 35)),
    "normed": (lambda q, k, v: F.layer_norm(q @ k.mT, (35,)) @ v, heads(17, 35)),
}


def _beyond(size: int, reach: int) -> torch.Tensor:
    place = torch.arange(size)
    return (place[None] > place[:, None]) | (place[None] < place[:, None] - reach)


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling(name: str) -> None:
    check(*SPELLINGS[name])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types(kind: torch.dtype) -> None:
    args = [a.to(kind) for a in heads(21, 37)]
    unit = {torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10, torch.float64: 1e-14}[kind]
    made = check(lambda q, k, v: sdpa(q, k, v, is_causal=False), args, unit=unit)
    assert ("float32)" in made.source) == (kind != torch.float64)


def test_rows_without_keys_and_rows_with_anything() -> None:
    """What is not finite is where torch has it: also in values that no query sees."""
    q, k, v = heads(40, lead=(2,))
    mask = draw(40, 40) > 0
    mask[3], mask[17:20] = False, False
    check(lambda q, k, v, m: softmax((q @ k.mT).masked_fill(~m, -math.inf), v), [q, k, v, mask])
    for number, where, value in ((0, (0, 5, 3), math.inf), (1, (0, 30, 0), -math.inf), (2, (1, 38, 0), math.nan)):
        args = [t.clone() for t in (q, k, v)]
        args[number][where] = value
        check(lambda q, k, v: softmax((q @ k.mT).masked_fill(_beyond(40, 40), -math.inf), v), args)


def test_large_scores_do_not_overflow() -> None:
    q, k, v = heads(20, 40)
    check(lambda q, k, v: sdpa(q * 300, k, v), [q, k, v], unit=2e-4)


def test_sizes_that_vary() -> None:
    q, k, v = heads(20, lead=(2,))
    sizes = tuple(DynamicSize(n, 1, 8, 64) for n in range(3))
    prepared = prepare(lambda q, k, v: sdpa(q, k, v, is_causal=True), (q, k, v), sizes)
    assert attentions(triton_kernels(prepared))
    made = emit_triton(prepared)
    for length in (8, 33, 64):
        args = heads(length, lead=(2,))
        q, k, v = (a.double() for a in args)
        wanted = sdpa(q, k, v, is_causal=True)
        assert float((interpret(made, *args).double() - wanted).abs().max()) < 4e-6


def test_the_best_guess_compiles_without_spills() -> None:
    from kernelwright.targets.triton import reports

    made = []
    for kind, depth in ((torch.bfloat16, 64), (torch.bfloat16, 128), (torch.float32, 64)):
        args = tuple(torch.empty(2, 8, 2048, depth, dtype=kind) for _ in range(3))
        made.append(emit_triton(prepare(lambda q, k, v: sdpa(q, k, v, is_causal=True), args)))
    for candidate, built in zip(made, reports(made), strict=True):
        assert not built.fault, built.fault
        assert built.spills == 0, candidate.schedule
