"""The Triton generator as a proposer for the one loop, where a GPU is here that tells how fast its candidates are."""

from __future__ import annotations

from collections.abc import Mapping

from ..compiler import Prepared
from ..compiler.program import Extern
from ..compiler.triton import TritonKernel, emit_triton, triton_kernels
from ..targets import Candidate
from ._compiler import CompilerProposer


class TimedTriton(CompilerProposer):
    """The Triton generator as a proposer where there is a clock: every result decides what is tried next."""

    fewest = 1  # kernels: the vendor's library is a rival worth joining in the smallest of graphs

    def _kernels(self, prepared: Prepared) -> Mapping[int, TritonKernel]:
        return {n: k for n, k in enumerate(triton_kernels(prepared)) if not isinstance(k, Extern)}

    def _print(self, prepared: Prepared, schedules: dict[int, int]) -> Candidate:
        return emit_triton(prepared, schedules, title=self._title)


__all__ = ["TimedTriton"]
