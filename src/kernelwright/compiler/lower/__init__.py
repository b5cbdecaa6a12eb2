"""Lowering: from a captured ATen graph to a level-1 tensor program."""

from . import (  # noqa: F401 (each module registers its lowerings)
    activations,
    attention,
    contractions,
    creation,
    data,
    norm_gradients,
    norms,
    pointwise,
    pooling,
    recurrent,
    reductions,
    upsampling,
    views,
    window_gradients,
)
from ._driver import HANDLERS, lower

__all__ = ["HANDLERS", "lower"]
