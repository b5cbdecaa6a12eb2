"""Runs a reference in float64 as if its arithmetic were somebody else's: rounded at random, each time anew.

What a perturbation of the inputs cannot show is the rounding of intermediate values: ``1 + erf(x)`` far in the tail,
``(x + 1e8) - 1e8``. Here every operator's result is moved at random by up to two rounding units and put on the float32
grid, equal results alike; one that float32 holds exactly stays, as it would in float32, so that selections, masks and
equalities keep their meaning (in float64 arithmetic there is no grid: what only selects or moves values stays).

Operators that reduce ``n`` terms get their operands and their result moved by the random walk of such a sum, which
grows with the partial sums on the way (of sorted numbers they are far larger than what is left in the end) and, where
the same term is added again and again, with their number: these roundings all go one way. Those that consist of steps
are taken apart by torch's own decompositions, and variances, too: in two passes or, where asked for, in one
(``E[x^2] - E[x]^2``, as textbooks have it, loses ``(mean / deviation)^2`` rounding units). Numbers in the program's
text are rounded like all others: an honest kernel that multiplies by 0.9 multiplies by the float32 next to it.
(Monte Carlo arithmetic: D. S. Parker, 1997.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ._bounds import amplitude
from ._reference import reduction_length

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
_SUMS = {"mm", "bmm", "addmm", "baddbmm", "sum", "mean", "cumsum"}
_STAYS = {
    "index", "gather", "embedding", "index_select", "masked_select", "masked_fill", "take", "cat", "stack", "clone",
    "constant_pad_nd", "neg", "abs", "relu", "clamp", "clamp_min", "clamp_max", "sign", "round", "floor", "ceil",
    "copy", "_to_copy", "flip", "roll", "scatter", "index_put", "lift_fresh_copy", "zeros", "ones", "full", "arange",
}  # fmt: skip
_STATIONS = 8
_ODD = -7046029254386353131  # of the golden ratio
_VARIANCES = ("var", "var_mean", "std", "std_mean")


class Rounding(TorchDispatchMode):
    """Active around a run in float64; equal seeds give equal runs."""

    def __init__(self, seed: int, *, dtype: torch.dtype = torch.float32, one_pass: bool = False) -> None:
        super().__init__()
        self.dtype, self.one_pass = dtype, one_pass
        self.unit = torch.finfo(dtype).eps
        self.generator = torch.Generator().manual_seed(seed)
        self.odd = 2 * int(torch.randint(1 << 60, (), generator=self.generator)) + 1

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in the oracle, and importing torch._dynamo to say so takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        steps = decomposition(func)
        if steps is not None:
            with self:
                return steps(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in _VARIANCES:
            with self:
                return variance(name, args[0], variance_asked(func, args, kwargs), one_pass=self.one_pass)
        if self.dtype != torch.float64 and name not in _SELECTS and name not in _STAYS:
            args, kwargs = [self._constant(a) for a in args], {k: self._constant(v) for k, v in kwargs.items()}
        mutates = func._schema.is_mutable
        result = func(*args, **kwargs)
        if func.is_view:
            return result
        if self.dtype == torch.float64 and (name in _SELECTS or name in _STAYS):
            return result
        length = 1 if mutates or name in _SELECTS else reduction_length(name, args, result)
        if length > 1:
            walk, alike = None, 0.0
            if name in _SUMS:
                walk, alike = _partial_sums(name, args, kwargs, result), _alike(name, args, kwargs)
            noise = amplitude(self.dtype, length)
            args, kwargs = pytree.tree_map(lambda leaf: self._moved(leaf, noise), (args, kwargs))
            result = func(*args, **kwargs)
            if walk is not None:
                units = 0.8 * math.sqrt(min(length, _PIECE)) + 0.5 * alike * min(length, _PIECE)
                result.addcmul_(walk, self._random(walk), value=units * self.unit)
        for leaf in pytree.tree_leaves(result):
            self._round(leaf, max(_STEPS, _walk(length)))
        return result

    def _moved(self, leaf: Any, noise: float) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != torch.float64:
            return leaf
        return leaf.addcmul(leaf, self._random(leaf), value=noise)

    def _constant(self, value: Any) -> Any:
        """A number of the program's text that float32 does not hold: kernels have its neighbours."""
        if not isinstance(value, float) or not math.isfinite(value) or float(np.float32(value)) == value:
            return value
        return value * (1.0 + self.unit * float(self._random(torch.zeros(()))))

    def _round(self, leaf: Any, steps: float) -> None:
        """In place: what float32 cannot hold is moved and rounded."""
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != torch.float64 or leaf.numel() == 0:
            return
        moved = leaf.addcmul(leaf, self._noise_of(leaf), value=steps * self.unit)
        if self.dtype != torch.float64:
            moved = moved.float().double()
        leaf.copy_(torch.where((leaf.float().double() == leaf) | leaf.isnan(), leaf, moved))

    def _random(self, like: torch.Tensor) -> torch.Tensor:
        """Of either sign and of a size in [0.5, 1]: a sample that is zero by chance would teach nothing."""
        return _spread(torch.rand(like.shape, generator=self.generator, dtype=torch.float64))

    def _noise_of(self, values: torch.Tensor) -> torch.Tensor:
        """The like for each value, the same for equal ones: a hash of its bits."""
        bits = values.view(torch.int64) * _ODD
        bits = (bits ^ (bits >> 29)) * self.odd
        return _spread(((bits >> 12) & (2**52 - 1)).double().mul_(2.0**-52))


def _spread(u: torch.Tensor) -> torch.Tensor:
    """[0, 1) to [-1, -0.5] and [0.5, 1]; in place."""
    u.sub_(0.5)
    return u.add_(u.sign(), alpha=0.5)


def variance_asked(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[int], float, bool]:
    """Dimensions, correction and keepdim of a variance, whichever of its three forms was called."""
    given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
    rank = args[0].dim()
    dims = [int(d) % rank for d in given.get("dim") or range(rank)]
    correction = given.get("correction", 1.0 if given.get("unbiased", True) else 0.0)
    return dims, 1.0 if correction is None else float(correction), bool(given.get("keepdim", False))


def variance(name: str, x: torch.Tensor, asked: tuple[list[int], float, bool], *, one_pass: bool) -> Any:
    """Step by step, so that each step is rounded."""
    dims, correction, keepdim = asked
    mean = x.mean(dims, True)
    if one_pass:
        variance = ((x * x).mean(dims, True) - mean * mean).clamp_min(0.0)
    else:
        centred = x - mean
        variance = (centred * centred).mean(dims, True)
    count = math.prod(x.shape[d] for d in dims)
    variance = variance * (count / (count - correction) if count > correction else math.nan)
    if not keepdim:
        mean, variance = mean.squeeze(dims), variance.squeeze(dims)
    if name.startswith("std"):
        variance = variance.sqrt()
    return (variance, mean) if name.endswith("_mean") else variance


def _partial_sums(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: torch.Tensor
) -> torch.Tensor | None:
    """Root mean square of the partial sums on the way to each sum, in the order of memory and at eight stations."""
    if name == "cumsum":
        dim = int(args[1])
        shape = [-1 if d == dim % result.dim() else 1 for d in range(result.dim())]
        count = torch.arange(1, result.shape[dim] + 1, dtype=torch.float64).view(shape)
        return result.square().cumsum(dim).div_(count).sqrt_()
    if name in ("sum", "mean"):
        x, dims = args[0], summed(args, kwargs)
        rest = [d for d in range(x.dim()) if d not in dims]
        flat = x.permute(rest + dims).reshape([x.shape[d] for d in rest] + [-1])
        scale = flat.shape[-1] if name == "mean" else 1
        pieces = [piece.sum(-1).view(result.shape) / scale for piece in flat.chunk(_STATIONS, -1)]
    else:
        a, b = args[:2] if name in ("mm", "bmm") else args[1:3]
        pairs = zip(a.chunk(_STATIONS, -1), b.chunk(_STATIONS, -2), strict=True)
        pieces = [left @ right for left, right in pairs]
    total, squares = torch.zeros_like(result), torch.zeros_like(result)
    for piece in pieces:
        total += piece
        squares.addcmul_(total, total)
    return squares.div_(len(pieces)).sqrt_()


def _alike(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """Share of terms that equal the one before: their roundings go the same way and add up where others cancel."""
    if name in ("sum", "mean"):
        dims = summed(args, kwargs)
        return _repeats(args[0], dims[-1]) if dims else 0.0
    if name == "cumsum":
        return _repeats(args[0], int(args[1]))
    a, b = args[:2] if name in ("mm", "bmm") else args[1:3]
    return _repeats(a, -1) * _repeats(b, -2)


def summed(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[int]:
    """The dimensions of a sum or mean."""
    given = args[1] if len(args) > 1 and not isinstance(args[1], bool) else kwargs.get("dim")
    rank = args[0].dim()
    return [int(d) % rank for d in given] if given else list(range(rank))


def _repeats(x: torch.Tensor, dim: int) -> float:
    count = x.shape[dim] - 1
    if count < 1:
        return 0.0
    later, earlier = x.narrow(dim, 1, count), x.narrow(dim, 0, count)
    return float(((later == earlier) & (later != 0)).double().mean())


def _walk(length: int) -> float:
    """Rounding units, relative to the sum, that adding so many terms of one sign in order may cost (4 sigma).

    Longer sums than 4096 are expected in pieces: no honest kernel adds a million terms to one accumulator.
    """
    if length == 1:
        return 0.0
    return 0.4 * (math.sqrt(min(length, _PIECE)) + math.sqrt(max(length / _PIECE, 1.0)))


def decomposition(func: Any, more: Collection[str] = ()) -> Callable[..., Any] | None:
    """The steps of an operator that consists of some; ``more``: names of others that shall be taken apart."""
    if func.overloadpacket.__name__ not in _COMPOSITE and func.overloadpacket.__name__ not in more:
        return None
    from torch._decomp import decomposition_table

    return decomposition_table.get(func)
