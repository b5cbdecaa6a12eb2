"""The Triton generator as a proposer where nothing is timed."""

from __future__ import annotations

from functools import partial

from ..compiler import Prepared
from ..compiler.triton import emit_triton, triton_kernels
from ._ahead import AheadProposer


class TritonProposer(AheadProposer):
    """Its candidates are interpreted and compiled."""

    def __init__(self, prepared: Prepared, title: str) -> None:
        super().__init__(prepared, triton_kernels(prepared), partial(emit_triton, prepared, title=title))


__all__ = ["TritonProposer"]
