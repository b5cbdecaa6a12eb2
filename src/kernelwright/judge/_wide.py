"""Runs a reference with 106 bits where float64 itself loses its digits: the oracle of ill-conditioned tasks.

Around a run in float64, this mode keeps beside each tensor the half of every number that float64 has no room for
(:mod:`._doubled`), in memory laid out like the tensor's own, so that views and changes in place need no rules. Sums,
products, roots, exponentials and logarithms are computed in pairs; what consists of steps is taken apart by torch's own
decompositions; moved values move with both halves. Any other function is float64's own, right to its last bit or so,
and passes the low halves on as its derivative does, which two further calls tell to a thousandth. So digits are kept
where they are lost: where numbers cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from . import _doubled as doubled
from ._doubled import Pair
from ._rounding import decomposition, variance, variance_asked
from ._wide_rules import RULES

_STEP = 2.0**10  # of a difference, in low halves: it is that much better than float64, and short enough for curves
_MOVES = {
    "index", "gather", "embedding", "index_select", "masked_select", "masked_fill", "take", "cat", "stack", "clone",
    "constant_pad_nd", "copy", "_to_copy", "flip", "roll", "scatter", "index_put", "lift_fresh_copy", "where", "tril",
    "triu", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d",
    "replication_pad3d", "repeat", "slice_scatter", "select_scatter", "diag_embed", "im2col", "fill", "take_along_dim",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "pixel_shuffle", "channel_shuffle",
}  # fmt: skip
_NUMBERS = {"masked_fill": 2, "constant_pad_nd": 2, "fill": 1, "scatter": 3}  # where whole numbers may be values
_STEPS = {"mse_loss", "huber_loss", "smooth_l1_loss", "lerp", "dist"}  # taken apart, besides those that rounding takes


class Wide(TorchDispatchMode):
    """Active around a run in float64, whose results are then float64's nearest."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, tuple[StorageWeakRef, torch.Tensor]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in the oracle, and importing torch._dynamo to say so takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            return self._change(func, args, kwargs)
        name = func.overloadpacket.__name__
        steps = decomposition(func, _STEPS)
        if steps is not None:
            with self:
                return steps(*args, **kwargs)
        if name in ("var", "var_mean", "std", "std_mean"):
            with self:
                return variance(name, args[0], variance_asked(func, args, kwargs), one_pass=False)
        result = func(*args, **kwargs)
        if not func.is_view and torch.Tag.nondeterministic_seeded not in func.tags:
            self._compute(func, args, kwargs, result)
        return result

    def _compute(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Puts 106 bits into float64's result: half of them beside it."""
        if not any(_is_double(leaf) for leaf in pytree.tree_leaves((args, kwargs))):
            return
        name = func.overloadpacket.__name__
        if name in _MOVES:
            self._move(func, name, args, kwargs, result)
            return
        rule, pair = RULES.get(name), None
        if rule is not None and _is_double(result):
            pairs = [Pair(a, self._low(a)) if _is_double(a) else a for a in args]
            pair = rule(pairs, kwargs, args)
        if pair is not None:
            self._keep(result, pair)
        else:
            self._differentiate(func, args, kwargs, result)

    def _change(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """What changes a tensor in place: computed as if it did not, then written to both halves."""
        packet, overload = func.overloadpacket.__name__, func._overloadname
        pure = getattr(getattr(torch.ops.aten, packet.removesuffix("_"), None), overload, None)
        seeded = torch.Tag.nondeterministic_seeded in func.tags
        if packet.endswith("_") and pure is not None and not seeded and _is_double(args[0]):
            with self:
                result = pure(*args, **kwargs)
            args[0].copy_(result)
            self._low_of(args[0]).copy_(self._low(result).expand_as(args[0]))
            return args[0]
        given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            value = given.get(argument.name)
            if argument.alias_info is not None and argument.alias_info.is_write and _is_double(value):
                self._low_of(value).zero_()
        return func(*args, **kwargs)

    def _move(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        number = _NUMBERS.get(name)

        def half(leaf: Any) -> Any:
            if _is_double(leaf):
                return self._low(leaf)
            return 0.0 if isinstance(leaf, float) else leaf

        low_args = [0 if k == number and isinstance(a, int) else pytree.tree_map(half, a) for k, a in enumerate(args)]
        if _is_double(result):
            low = func(*low_args, **pytree.tree_map(half, kwargs))
            self._low_of(result).copy_(low)

    def _differentiate(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Low halves of any function's results, from a step of so many low halves to either side."""

        def moved(sign: float) -> Any:
            def step(leaf: Any) -> Any:
                return leaf + sign * _STEP * self._low(leaf) if _is_double(leaf) else leaf

            return func(*pytree.tree_map(step, list(args)), **pytree.tree_map(step, kwargs))

        known = [self._find(leaf) for leaf in pytree.tree_leaves((args, kwargs)) if _is_double(leaf)]
        if not any(low is not None for low in known):
            return
        leaves, above, below = (pytree.tree_leaves(tree) for tree in (result, moved(1.0), moved(-1.0)))
        for leaf, up, down in zip(leaves, above, below, strict=True):
            if _is_double(leaf) and leaf.shape == up.shape == down.shape:
                right, left = (up - leaf) / _STEP, (leaf - down) / _STEP
                smooth = (right - left).abs() <= 0.25 * torch.maximum(right.abs(), left.abs())  # not across a jump
                low = torch.where(smooth, (right + left) / 2.0, 0.0)
                self._keep(leaf, doubled.settled(leaf, low))

    # ── the low halves ──

    def _low(self, x: torch.Tensor) -> torch.Tensor:
        found = self._find(x)
        return torch.zeros_like(x) if found is None else found

    def _find(self, x: torch.Tensor) -> torch.Tensor | None:
        known = self.kept.get(x.untyped_storage()._cdata)
        if known is None or known[0].expired():
            return None
        return known[1].as_strided(x.size(), x.stride(), x.storage_offset())

    def _low_of(self, x: torch.Tensor) -> torch.Tensor:
        """The low half as it lies in memory; made of zeros if there is none."""
        found = self._find(x)
        if found is None:
            storage = x.untyped_storage()
            empty = torch.zeros(storage.nbytes() // 8, dtype=torch.float64)
            self.kept[storage._cdata] = StorageWeakRef(storage), empty
            found = empty.as_strided(x.size(), x.stride(), x.storage_offset())
        return found

    def _keep(self, result: torch.Tensor, pair: Pair) -> None:
        hi = pair.hi.reshape(result.shape)
        result.copy_(torch.where(hi == result, result, hi))  # a zero keeps its sign
        self._low_of(result).copy_(pair.lo.reshape(result.shape))


def _is_double(leaf: Any) -> TypeGuard[torch.Tensor]:
    return isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64
