"""Lowering: from a captured ATen graph to a level-1 tensor program."""

from . import (  # noqa: F401 (each module registers its lowerings)
    _backward,
    activations,
    attention,
    backward,
    contractions,
    creation,
    data,
    norms,
    pointwise,
    pooling,
    recurrent,
    reductions,
    upsampling,
    views,
)
from ._driver import HANDLERS, lower

__all__ = ["HANDLERS", "lower"]
