"""The CUDA generator as a proposer: all but products and convolutions, which stay calls of ATen's tuned libraries."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial

from ..compiler import Prepared, prepare_captured
from ..compiler.capture import Captured
from ..compiler.cuda import CudaKernel, cuda_kernels, emit_cuda
from ..compiler.program import Extern
from ..errors import Unsupported
from ..targets import Candidate
from ._ahead import AheadProposer
from ._compiler import CompilerProposer
from ._families import contractions


def cuda_proposer(captured: Captured, title: str, *, timed: bool) -> AheadProposer | CompilerProposer:
    """With a GPU every result decides what is tried next; without one candidates are proven and compiled.

    Raises ``Unsupported`` where everything is left to ATen.
    """
    kept = contractions(captured)
    prepared = prepare_captured(captured, kept)
    if kept and not prepared.lowered:
        raise Unsupported("the target cuda leaves products and convolutions to ATen, and there is nothing else to do.")
    if timed:
        return _Timed(prepared, title)
    return AheadProposer(prepared, cuda_kernels(prepared), partial(emit_cuda, prepared, title=title))


class _Timed(CompilerProposer):
    """The CUDA generator as a proposer for the one loop. Which operations stay ATen calls is settled before."""

    fewest = sys.maxsize

    def _kernels(self, prepared: Prepared) -> Mapping[int, CudaKernel]:
        return {n: k for n, k in enumerate(cuda_kernels(prepared)) if not isinstance(k, Extern)}

    def _print(self, prepared: Prepared, schedules: dict[int, int]) -> Candidate:
        return emit_cuda(prepared, schedules, title=self._title)


__all__ = ["cuda_proposer"]
