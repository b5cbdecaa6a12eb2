"""Attention: scores, softmax, weighted sum; masks and causality become part of the softmax's input."""

from __future__ import annotations

import math

from ..program import Expr
from ._builder import require
from ._driver import Lowering, lowers
from ._lazy import Lazy, cast, compute, const, op, pointwise, same_shape, where
from .contractions import _BATCH, contract
from .creation import triangle
from .reductions import log_sum_exp, reduced, softmax, spread


@lowers("scaled_dot_product_attention")
def attention(
    low: Lowering, query: Lazy, key: Lazy, value: Lazy, attn_mask: Lazy | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Lazy:  # fmt: skip
    require(dropout_p == 0, "dropout")
    rank = query.rank
    require(rank >= 2 and key.rank == rank and value.rank == rank, "broadcast heads")
    depth = query.shape[-1]
    require(isinstance(depth, int), "a depth that varies")
    factor = scale if scale is not None else 1.0 / math.sqrt(int(depth))
    kind = compute(low.dtype)
    batch = _BATCH[: rank - 2]
    shared = batch
    heads, kv_heads = query.shape[-3:-2], key.shape[-3:-2]
    grouped = enable_gqa and not same_shape(heads, kv_heads)
    if grouped:  # the queries of one key's group get a dim of their own
        require(isinstance(heads[0], int) and isinstance(kv_heads[0], int), "a varying number of heads")
        many = int(heads[0]) // int(kv_heads[0])
        query = low.reshape(query, (*query.shape[:-3], kv_heads[0], many, *query.shape[-2:]))
        batch = batch + "z"
    scores = contract(
        low, query, key, batch + "mk", shared + "nk", batch + "mn", kind,
        lambda acc, _: op("mul", acc, const(factor, kind)),
    )  # fmt: skip
    full = (*low.shape[:-1], key.shape[-2])
    flat = low.reshape(scores, full)
    masked = low.realise(_masked(low, flat, attn_mask, is_causal, kind))
    weights = low.reshape(low.realise(softmax(low, masked, -1, kind)), scores.shape)
    out = contract(low, weights, value, batch + "mk", shared + "kn", batch + "mn", low.dtype)
    return low.reshape(out, low.shape)


def _masked(low: Lowering, scores: Lazy, mask: Lazy | None, causal: bool, kind: str) -> Lazy:
    shape = scores.shape
    never = const(-math.inf, kind)
    if causal:
        scores = pointwise(shape, kind, lambda m, s: where(m, s, never), triangle(shape, 0, True), scores)
    if mask is None:
        return scores
    wide = low.broadcast(mask, shape)

    def shifted(m: Expr, s: Expr) -> Expr:  # added, so that a NaN that is masked stays one, as in PyTorch
        return op("add", s, where(m, const(0.0, kind), never) if mask.dtype == "bool" else cast(m, kind))

    return pointwise(shape, kind, shifted, wide, scores)


# ── as AOTAutograd sees it: forward with the logarithm of the sum, and backward ──


def _scores(
    low: Lowering, query: Lazy, key: Lazy, mask: Lazy | None, causal: bool, scale: float | None, kind: str
) -> tuple[Lazy, float]:
    depth = query.shape[-1]
    require(query.rank == 4 and isinstance(depth, int), "a depth that varies")
    factor = scale if scale is not None else 1.0 / math.sqrt(int(depth))
    scores = contract(low, query, key, "bhmk", "bhnk", "bhmn", kind, lambda acc, _: op("mul", acc, const(factor, kind)))
    return _masked(low, scores, mask, causal, kind), factor


@lowers("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    low: Lowering, query: Lazy, key: Lazy, value: Lazy, dropout_p: float = 0.0, is_causal: bool = False,
    attn_mask: Lazy | None = None, scale: float | None = None,
) -> tuple[Lazy, Lazy]:  # fmt: skip
    require(dropout_p == 0, "dropout")
    kind = compute(query.dtype)
    scores = low.realise(_scores(low, query, key, attn_mask, is_causal, scale, kind)[0])
    total = log_sum_exp(low, scores, (3,), kind)
    weights = low.realise(_weights(scores, total, kind))
    return contract(low, weights, value, "bhmk", "bhkn", "bhmn", query.dtype), total


def _weights(scores: Lazy, total: Lazy, kind: str) -> Lazy:
    """exp(score - log of the sum of exponentials) is the softmax."""
    wide = spread(total, scores.shape, (3,))
    return pointwise(scores.shape, kind, lambda s, t: op("exp", op("sub", s, cast(t, kind))), scores, wide)


@lowers("_scaled_dot_product_flash_attention_for_cpu_backward")
def flash_attention_backward(
    low: Lowering, grad_out: Lazy, query: Lazy, key: Lazy, value: Lazy, out: Lazy, logsumexp: Lazy, dropout_p: float,
    is_causal: bool, attn_mask: Lazy | None = None, scale: float | None = None,
) -> tuple[Lazy, Lazy, Lazy]:  # fmt: skip
    """P = softmax, dP = dO Vᵀ, D = rowsum(dO * O), dS = P * (dP - D) * scale; dQ = dS K, dK = dSᵀ Q, dV = Pᵀ dO."""
    require(dropout_p == 0, "dropout")
    kind = compute(query.dtype)
    grad = grad_out if grad_out.free else low.realise(grad_out)
    scores, factor = _scores(low, query, key, attn_mask, is_causal, scale, kind)
    weights = low.realise(_weights(scores, logsumexp, kind))
    to_value = contract(low, weights, grad, "bhmn", "bhmd", "bhnd", value.dtype)
    to_weights = contract(low, grad, value, "bhmd", "bhnd", "bhmn", kind)
    both = pointwise(grad.shape, kind, lambda a, b: op("mul", cast(a, kind), cast(b, kind)), grad, out)
    rows = spread(reduced(low, both, (3,), "sum", kind), scores.shape, (3,))

    def combine(p: Expr, dp: Expr, d: Expr) -> Expr:
        return op("mul", op("mul", p, op("sub", dp, d)), const(factor, kind))

    to_scores = low.realise(pointwise(scores.shape, kind, combine, weights, to_weights, rows))
    to_query = contract(low, to_scores, key, "bhmn", "bhnd", "bhmd", query.dtype)
    to_key = contract(low, to_scores, query, "bhmn", "bhmd", "bhnd", key.dtype)
    return to_query, to_key, to_value
