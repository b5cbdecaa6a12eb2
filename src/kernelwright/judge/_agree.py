"""What agrees with the reference as the user runs it is right, whatever float64 would say: a quick way to a yes.

The bound of an element (:mod:`._bounds`) holds ``k |eager - y|`` with ``k >= 3`` and ``r |y|``, where ``r`` is the
relative part that is due to rounding alone. So an element ``g`` with ``|g - eager| <= r |eager| + tiny``, ``r`` and
``tiny`` taken a little smaller, has

    |g - y| <= r |eager| + tiny + |eager - y| <= r |y| + tiny + (1 + r) |eager - y|

which is within its bound for every ``y``; NaN and infinity where eager has them are right in any case, and so are
integers that equal eager's. This is no other criterion: it says yes only where the bound would, and says nothing else.
Then the float64 run and the bounds made from it, which cost most of a comparison, need not be made.
"""

from __future__ import annotations

import math

import torch

from ._bounds import Comparison, real_view, rounding_share, tiles
from ._reference import same_bits

_SLACK = 0.99  # of the bound's own share, for what is rounded here
_FLOOR = 0.35  # of the bound is more than eager's own error can be, of which the bound holds three times


def agreement(eager: torch.Tensor, got: torch.Tensor, length: int) -> Comparison | None:
    """A yes, with the most that the error can be in units of its bound; None where this does not tell.

    Nothing counts as compared: whether float64 and the reference contradict each other is not known here.
    """
    if eager.shape != got.shape or eager.dtype != got.dtype:
        return None
    eager, got = real_view(eager), real_view(got)
    if eager.numel() == 0:
        return Comparison(0.0, 0)
    if same_bits(eager, got):
        return Comparison(_FLOOR if eager.is_floating_point() else 0.0, 0)
    if not eager.is_floating_point():
        return None
    share = _SLACK * rounding_share(eager.dtype, length)
    tiny = _SLACK * torch.finfo(eager.dtype).tiny
    worst = _FLOOR
    for mine, its in tiles(eager, got):
        error = _largest(mine, its, share, tiny)
        if not error <= 1.0:
            return None
        worst = max(worst, error)
    return Comparison(worst, 0)


def _largest(eager: torch.Tensor, got: torch.Tensor, share: float, tiny: float) -> float:
    """The largest distance in units of what rounding may do; infinite where a NaN or infinity differs."""
    if eager.element_size() < 4:
        eager, got = eager.float(), got.float()
    allowed = eager.abs().mul_(share).add_(tiny)
    error = torch.sub(got, eager).abs_().div_(allowed)
    worst = float(error.max())
    if worst <= 1.0:
        return worst
    alike = (got == eager) | (got.isnan() & eager.isnan())
    left = error[~alike]
    return float(left.nan_to_num_(nan=math.inf).max()) if left.numel() else 0.0
