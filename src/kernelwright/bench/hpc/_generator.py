"""Our own suggestions: GEMM from the compiler, the others from their parametric family, as C++ with OpenMP."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from ...compiler import emit, prepare
from ...errors import SuggestionsInvalid
from ...kernels.hpc import KERNELS as FAMILY
from ...kernels.hpc import schedules, source
from ...targets.cpu import flatten
from ...targets.plan import Candidate, EntryCall
from ...task import DynamicSize
from ._grade import Suggestion
from ._models import Cell

NAME = "kernelwright"
MODEL = "cpp/openmp"
_MOST = 1 << 20  # rows and columns of the box for which a product is generated

# How the kernels' headers start threads: by the runtime's entry, so that any compiler will do. A file for others says
# it with the directive, which is the same call once it is compiled.
_DECLARED = re.compile(r'#ifndef KW_SERIAL\nextern "C" void GOMP_parallel.*?#endif\n', re.DOTALL)
_STARTED = re.compile(r"  if \(threads > 1\) \{\n    struct Job \{.*?\n    return;\n  \}\n", re.DOTALL)
_DIRECTIVE = """  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    body(omp_get_thread_num(), threads);
    return;
  }
"""
_GEMM = """
// C = A * B, A with m rows of k, B with k rows of n elements
void gemm(long m, long n, long k, const @REAL@* A, const @REAL@* B, @REAL@* C) {
  int64_t sizes[3][2] = {{m, k}, {k, n}, {m, n}};
  const void* data[3] = {A, B, C};
  kw::Tensor tensors[4] = {};
  kw::Argument arguments[4] = {}, answer = {};
  for (int t = 0; t < 3; ++t)
    tensors[t] = {const_cast<void*>(data[t]), 1, 0, 2, {2, 8 * sizeof(@REAL@), 1}, sizes[t], nullptr, 0};
  int64_t bytes = @WORKSPACE@;
  char* scratch = new char[bytes + 64];
  tensors[3] = {scratch + (64 - reinterpret_cast<uintptr_t>(scratch) % 64), 1, 0, 1, {1, 8, 1}, &bytes, nullptr, 0};
  for (int t = 0; t < 4; ++t) {
    arguments[t].type = 7;
    arguments[t].pointer = &tensors[t];
  }
  __tvm_ffi_@ENTRY@(nullptr, arguments, 4, &answer);
  delete[] scratch;
}
"""


class Generator:
    """The source of suggestions that is this project: one for each kernel in C++ with OpenMP, none elsewhere."""

    name = NAME

    def suggestions(self, cell: Cell) -> Sequence[Suggestion] | None:
        """One, where it knows the programming model. It needs no words."""
        if cell.model.key != MODEL or cell.keyword:
            return None
        return [Suggestion(generated(cell.kernel), f"{NAME}/{cell.kernel}")]


def generated(kernel: str, dtype: str = "float64") -> str:
    """The C++ text of a kernel for float64 or float32, which needs nothing of ours."""
    if dtype not in ("float64", "float32"):
        raise SuggestionsInvalid(f"The dtype is {dtype!r}; it must be float64 or float32.")
    if kernel in FAMILY:
        return source(kernel, next(schedules(kernel, dtype)))
    return _product(dtype)


@functools.cache
def _product(dtype: str) -> str:
    """GEMM for any size up to the box, as the compiler schedules it first."""
    import torch

    kind = getattr(torch, dtype)
    examples = torch.zeros(96, 80, dtype=kind), torch.zeros(80, 112, dtype=kind)
    box = [DynamicSize(arg, dim, 1, _MOST) for arg in (0, 1) for dim in (0, 1)]
    with torch.no_grad():
        candidate = emit(prepare(torch.matmul, examples, tuple(box)))
    return _directives(flatten(candidate.source)) + _way_in(candidate, "double" if dtype == "float64" else "float")


def _directives(text: str) -> str:
    text, declared = _DECLARED.subn("#include <omp.h>\n", text)
    text, started = _STARTED.subn(_DIRECTIVE, text)
    if (declared, started) != (1, 1):
        raise AssertionError("kw/base.h starts threads in another way than the generator of suggestions knows")
    return text


def _way_in(candidate: Candidate, real: str) -> str:
    """A function with the usual signature round the compiler's entry."""
    plan = candidate.plan
    assert plan is not None
    (step,) = plan.steps
    assert isinstance(step, EntryCall)
    by_place = {(0, 0): "m", (0, 1): "k", (1, 0): "k", (1, 1): "n"}
    size = str(plan.workspace)
    for symbol in plan.symbols:
        size = re.sub(rf"\b{symbol.name}\b", by_place[symbol.input, symbol.dim], size)
    size = (
        re.sub(r"\b(\d+)\b", r"\1.0", size).replace("math.floor", "__builtin_floor").replace("Max", "kw::max<double>")
    )
    size = f"static_cast<int64_t>({size})"
    return _GEMM.replace("@WORKSPACE@", size).replace("@ENTRY@", step.entry).replace("@REAL@", real)


__all__ = ["MODEL", "NAME", "Generator", "generated"]
