"""Runs a reference in float64 as if its arithmetic were somebody else's float32: rounded at random, each time anew.

What a perturbation of the inputs cannot show is the rounding of intermediate values: ``1 + erf(x)`` far in the tail,
``(x + 1e8) - 1e8``. Here every operator's result is moved at random by up to two rounding units and put on the float32
grid; a result that float32 holds exactly stays, as it would in float32, so that selections, masks and equalities keep
their meaning. Operators that reduce ``n`` terms get their operands and their result moved by the random walk of such a
sum, and those that consist of steps are taken apart by torch's own decompositions.
(Monte Carlo arithmetic: D. S. Parker, 1997.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ._bounds import amplitude
from ._reference import reduction_length

_UNIT = 2.0**-23
_STEPS = 2.0  # rounding units by which one operator's result may be off
_PIECE = 4096  # terms
_COMPOSITE = {
    "gelu", "_softmax", "_log_softmax", "silu", "mish", "softplus", "elu", "hardswish", "log_sigmoid_forward",
    "native_layer_norm", "native_group_norm", "native_batch_norm", "_native_batch_norm_legit", "logaddexp", "logsumexp",
}  # fmt: skip
_SELECTS = {
    "max", "min", "amax", "amin", "aminmax", "argmax", "argmin", "sort", "topk", "median", "kthvalue", "mode", "any",
    "all", "cummax", "cummin", "max_pool2d_with_indices", "max_pool3d_with_indices", "mkldnn_max_pool2d", "max_pool1d",
    "max_pool2d", "max_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", "maximum", "minimum", "where", "unique",
}  # fmt: skip


class Rounding(TorchDispatchMode):
    """Active around a run in float64; equal seeds give equal runs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in the oracle, and importing torch._dynamo to say so takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        steps = _decomposition(func)
        if steps is not None:
            with self:
                return steps(*args, **kwargs)
        mutates = func._schema.is_mutable
        result = func(*args, **kwargs)
        if func.is_view:
            return result
        name = func.overloadpacket.__name__
        length = 1 if mutates or name in _SELECTS else reduction_length(name, args, result)
        if length > 1:
            noise = amplitude(torch.float32, length)
            args, kwargs = pytree.tree_map(lambda leaf: self._moved(leaf, noise), (args, kwargs))
            result = func(*args, **kwargs)
        for leaf in pytree.tree_leaves(result):
            self._round(leaf, max(_STEPS, _walk(length)))
        return result

    def _moved(self, leaf: Any, noise: float) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != torch.float64:
            return leaf
        return leaf.addcmul(leaf, self._random(leaf), value=noise)

    def _round(self, leaf: Any, steps: float) -> None:
        """In place: what float32 cannot hold is moved and rounded."""
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != torch.float64 or leaf.numel() == 0:
            return
        moved = leaf.addcmul(leaf, self._random(leaf), value=steps * _UNIT).float().double()
        leaf.copy_(torch.where((leaf.float().double() == leaf) | leaf.isnan(), leaf, moved))

    def _random(self, like: torch.Tensor) -> torch.Tensor:
        """Of either sign and of a size in [0.5, 1]: a sample that is zero by chance would teach nothing."""
        u = torch.rand(like.shape, generator=self.generator, dtype=torch.float64).sub_(0.5)
        return u.add_(u.sign(), alpha=0.5)


def _walk(length: int) -> float:
    """Rounding units, relative to the sum, that adding so many terms of one sign in order may cost (4 sigma).

    Longer sums than 4096 are expected in pieces: no honest kernel adds a million terms to one accumulator.
    """
    if length == 1:
        return 0.0
    return 0.4 * (math.sqrt(min(length, _PIECE)) + math.sqrt(max(length / _PIECE, 1.0)))


def _decomposition(func: Any) -> Callable[..., Any] | None:
    if func.overloadpacket.__name__ not in _COMPOSITE:
        return None
    from torch._decomp import decomposition_table

    return decomposition_table.get(func)
