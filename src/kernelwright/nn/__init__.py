"""Layers served by our kernels, and what turns a model's own layers into them."""

from __future__ import annotations

from ._quant_linear import QuantLinear
from ._quantize import quantize

__all__ = ["QuantLinear", "quantize"]
