"""Attention: scores, softmax, weighted sum; masks and causality become part of the softmax's input."""

from __future__ import annotations

import math
from typing import Any

from ..program import Expr
from ._builder import require
from ._driver import Lowering, lowers
from ._lazy import Lazy, cast, compute, const, op, pointwise, same_shape, where
from .contractions import _BATCH, contract
from .creation import triangle
from .reductions import softmax


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
    factor = scale if scale is not None else 1.0 / math.sqrt(int(depth))  # type: ignore[arg-type]
    kind = compute(low.dtype)
    batch = _BATCH[: rank - 2]
    shared = batch
    heads, kv_heads = query.shape[-3:-2], key.shape[-3:-2]
    grouped = enable_gqa and not same_shape(heads, kv_heads)
    if grouped:  # the queries of one key's group get a dim of their own
        require(isinstance(heads[0], int) and isinstance(kv_heads[0], int), "a varying number of heads")
        many = int(heads[0]) // int(kv_heads[0])  # type: ignore[arg-type]
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
    if mask.dtype == "bool":
        return pointwise(shape, kind, lambda m, s: where(m, s, never), wide, scores)

    def shifted(m: Expr, s: Expr) -> Expr:
        return op("add", s, cast(m, kind))

    return pointwise(shape, kind, shifted, wide, scores)


__all__: list[Any] = []
