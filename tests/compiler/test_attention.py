"""Attention in its many spellings becomes one kernel that agrees with float64 torch; what is not attention does not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from kernelwright.compiler import Kernel, emit, prepare
from kernelwright.compiler._visible import mask_of
from kernelwright.compiler.attention import Attention, find_attention
from kernelwright.compiler.capture import capture
from kernelwright.compiler.contraction import is_contraction
from kernelwright.compiler.fuse import fuse
from kernelwright.compiler.group import group
from kernelwright.compiler.lower import lower
from kernelwright.targets import load
from kernelwright.task import DynamicSize

Function = Callable[..., torch.Tensor]
sdpa = F.scaled_dot_product_attention


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def heads(*lengths: int, lead: tuple[int, ...] = (2, 3), sizes: tuple[int, ...] = (32, 32, 24)) -> list[torch.Tensor]:
    """Q, K and V for the given numbers of queries and keys."""
    queries, keys = lengths if len(lengths) == 2 else (lengths[0], lengths[0])
    return [draw(*lead, n, d) for n, d in zip((queries, keys, keys), sizes, strict=True)]


def matches(fn: Function, *args: torch.Tensor) -> list[Attention]:
    program = fuse(lower(capture(fn, args)))
    return find_attention(program, group(program, lambda s: is_contraction(program, s)))


def softmax(scores: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.softmax(scores, -1) @ v


def masked(mask: torch.Tensor, fill: float = -math.inf) -> Function:
    return lambda q, k, v, m=mask: softmax((q @ k.mT).masked_fill(m, fill), v)


def later(queries: int, keys: int, shift: int = 1) -> torch.Tensor:
    """True where the key comes after the query."""
    return torch.ones(queries, keys, dtype=torch.bool).triu(shift)


def check(fn: Function, args: list[torch.Tensor], *, every: bool = False) -> None:
    """One kernel, and within the rounding of float32 of what float64 gives, NaN where that has NaN."""
    with torch.no_grad():
        prepared = prepare(fn, tuple(args))
        found = [n for n, k in enumerate(prepared.kernels) if isinstance(k, Kernel) and k.attention is not None]
        assert len(found) == 1
        kernel = prepared.kernels[found[0]]
        assert isinstance(kernel, Kernel)
        wide = fn(*[a.double() if a.is_floating_point() else a for a in args])
        expected = wide if isinstance(wide, tuple) else (wide,)
        count = len(kernel.schedules) if every else 1
        for choice in range(count):
            got = load(emit(prepared, {found[0]: choice}), fn, {})(*args)
            for ours, theirs in zip(got if isinstance(got, tuple) else (got,), expected, strict=True):
                compare(ours, theirs)


def compare(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert torch.equal(ours.isnan(), theirs.isnan())
    unit = {torch.float32: 4e-6, torch.float64: 1e-13}.get(ours.dtype, 1e-2)
    scale = max(1.0, float(theirs.nan_to_num(0, 0, 0).abs().max()))
    assert float((ours.double() - theirs).nan_to_num(0, 0, 0).abs().max()) <= unit * scale


# ── recognition ──────────────────────────────────────────────────────────────────────────────────────────────────


SPELLINGS: dict[str, tuple[Function, list[torch.Tensor]]] = {
    "fused": (lambda q, k, v: sdpa(q, k, v), heads(17, 29)),
    "causal": (lambda q, k, v: sdpa(q, k, v, is_causal=True), heads(17)),
    "grouped": (
        lambda q, k, v: sdpa(q, k, v, enable_gqa=True),
        [draw(2, 4, 17, 32), draw(2, 2, 17, 32), draw(2, 2, 17, 32)],
    ),
    "batched": (lambda q, k, v: softmax(torch.bmm(q, k.transpose(1, 2)) / 5.0, v), heads(17, 29, lead=(4,))),
    "plain": (lambda q, k, v: softmax(q @ k.T, v), heads(17, 29, lead=())),
    "einsum": (
        lambda q, k, v: torch.einsum(
            "bhst,bthd->bshd", torch.softmax(torch.einsum("bshd,bthd->bhst", q, k) * 0.2, -1), v
        ),
        [draw(2, 17, 4, 32), draw(2, 29, 4, 32), draw(2, 29, 4, 24)],
    ),
    "packed": (lambda x: sdpa(*x.view(2, 17, 3, 4, 16).permute(2, 0, 3, 1, 4)).transpose(1, 2), [draw(2, 17, 192)]),
    "sigmoid": (lambda q, k, v: torch.sigmoid(q @ k.mT) @ v, heads(17, 29)),
    "normed": (lambda q, k, v: F.layer_norm(q @ k.mT, (29,)) @ v, heads(17, 29)),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_one_match(name: str) -> None:
    fn, args = SPELLINGS[name]
    assert len(matches(fn, *args)) == 1


OTHERS: dict[str, tuple[Function, list[torch.Tensor]]] = {
    "weights returned": (
        lambda q, k, v: (lambda p: (p @ v, p))(torch.softmax(q @ k.mT, -1)),  # type: ignore[return-value, dict-item]
        heads(17, 29),
    ),
    "scores returned": (lambda q, k, v: (softmax(q @ k.mT, v), q @ k.mT), heads(17, 29)),  # type: ignore[return-value, dict-item]
    "scores used twice": (lambda q, k, v: softmax(q @ k.mT, v) + (q @ k.mT) @ v, heads(17, 29)),
    "one query": (lambda q, k, v: softmax(q @ k.mT, v), heads(1, 29)),
    "softmax over queries": (lambda q, k, v: torch.softmax(q @ k.mT, -2) @ v, heads(17, 29)),
    "weights transposed": (lambda q, k, v: torch.softmax(q @ k.mT, -1).mT @ v, heads(17)),
    "two layers": (lambda x, a, b: F.gelu(x @ a) @ b, [draw(2, 17, 32), draw(32, 64), draw(64, 24)]),
    "one product": (lambda q, k, v: torch.softmax(q @ k.mT, -1) + 0 * v.sum(), heads(17, 29)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_attention_is_left_alone(name: str) -> None:
    fn, args = OTHERS[name]
    assert matches(fn, *args) == []


def test_a_causal_mask_tells_the_range_of_visible_keys() -> None:
    (found,) = matches(lambda q, k, v: sdpa(q, k, v, is_causal=True), *heads(17))
    mask = mask_of(found.scores, found.key.name)
    assert mask is not None
    assert mask.exact
    assert mask.lows == ()
    (high,) = mask.highs
    assert (high.coefficient(found.row.name), high.offset) == (1, 1)


def test_a_window_has_two_ends() -> None:
    positions = torch.arange(40)
    (found,) = matches(
        lambda q, k, v: softmax(
            (q @ k.mT).masked_fill(
                (torch.arange(40)[None] > torch.arange(40)[:, None])
                | (torch.arange(40)[None] < torch.arange(40)[:, None] - 5),
                -math.inf,
            ),
            v,
        ),
        *heads(len(positions)),
    )
    mask = mask_of(found.scores, found.key.name)
    assert mask is not None
    assert (len(mask.lows), len(mask.highs), mask.exact) == (1, 1, True)


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_computes_the_same(name: str) -> None:
    fn, args = SPELLINGS[name]
    check(fn, args)


@pytest.mark.parametrize("lengths", [(9, 5), (129, 129), (40, 100)])
def test_ragged_and_crossed_lengths(lengths: tuple[int, int]) -> None:
    check(lambda q, k, v: sdpa(q, k, v, is_causal=True), heads(*lengths), every=lengths == (129, 129))


def test_masks_in_memory() -> None:
    q, k, v = heads(17, 29)
    check(lambda q, k, v, m: sdpa(q, k, v, attn_mask=m), [q, k, v, draw(2, 1, 17, 29)])
    check(lambda q, k, v, m: softmax((q @ k.mT).masked_fill(m, -math.inf), v), [*heads(130, 211), later(130, 211, 20)])


def test_a_masked_nan_stays_one_as_in_torch() -> None:
    q, k, v = heads(17, 29)
    k[0, 0, 3, 2] = math.nan
    check(lambda q, k, v, m: sdpa(q, k, v, attn_mask=m), [q, k, v, torch.arange(29).expand(17, 29) > 5])


def test_a_mask_of_whole_rows_gives_nan_as_in_torch() -> None:
    check(lambda q, k, v, m: softmax((q @ k.mT).masked_fill(m, -math.inf), v), [*heads(130, 211), later(130, 211, -60)])


def test_large_logits_do_not_overflow() -> None:
    check(lambda q, k, v: softmax(q @ k.mT * 1000, v), heads(17, 29))


def test_what_lies_behind_a_mask_is_skipped_only_where_it_is_finite() -> None:
    """Zero times NaN is NaN: rows before the bad value are bad too, as in torch."""
    q, k, v = heads(140, lead=(2,))
    v[0, 120, 3] = math.nan
    v[1, 130, 5] = math.inf
    check(masked(later(140, 140)), [q, k, v])


def test_a_fill_that_is_not_infinite_is_kept() -> None:
    check(masked(later(50, 50), -1e9), heads(50))
    check(masked(torch.ones(50, 50, dtype=torch.bool), -1e9), heads(50))


def test_weights_without_softmax() -> None:
    count = torch.arange(1, 141)[:, None].sqrt()
    check(lambda q, k, v: torch.tril(F.relu(q @ k.mT).square()) @ v / count, heads(140))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    check(lambda q, k, v: sdpa(q, k, v), [t.to(dtype) for t in heads(33, 29)])


def test_rows_that_compete_for_cache_sets() -> None:
    check(lambda x: sdpa(*x.view(1, 50, 3, 8, 64).permute(2, 0, 3, 1, 4)), [draw(1, 50, 1536)])


def test_row_results_that_others_read_are_written() -> None:
    """The logarithm of the sum of exponentials leaves the kernel; the weights do not."""

    def fn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = q @ k.mT
        total = scores.logsumexp(-1, keepdim=True)
        return torch.exp(scores - total) @ v, total * 2

    check(fn, heads(37, 29))  # type: ignore[arg-type]


def test_several_threads_share_the_blocks() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        check(lambda q, k, v: sdpa(q, k, v, is_causal=True), heads(150, lead=(1, 3), sizes=(64, 64, 64)))
    finally:
        torch.set_num_threads(before)


def test_lengths_that_vary_share_one_kernel() -> None:
    def fn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return sdpa(q, k, v, is_causal=True)

    prepared = prepare(fn, tuple(heads(40)), tuple(DynamicSize(arg, 2, 2, 300) for arg in range(3)))
    assert [isinstance(k, Kernel) and k.attention is not None for k in prepared.kernels] == [True]
    kernel = load(emit(prepared), fn, {})
    for length in (9, 40, 129):
        args = heads(length)
        compare(kernel(*args), fn(*[a.double() for a in args]))
