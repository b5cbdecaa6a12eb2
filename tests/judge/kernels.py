"""Hand-written C++ candidates for ``relu(x + bias)`` on x (M, 32): an honest one and the ways to get it wrong."""

from __future__ import annotations

import torch

from kernelwright.targets import Candidate, EntryCall, InputSpec, Plan, SymbolSpec, TensorSpec
from kernelwright.task import DynamicSize, Task, from_callable

ROWS, COLUMNS = 37, 32

_SOURCE = """
#include <kw/abi.h>
extern "C" void abort();
extern "C" void _exit(int);
extern "C" void* malloc(unsigned long);
extern "C" long write(int, const void*, unsigned long);
extern "C" int usleep(unsigned);
static int calls = 0;
static volatile float kept[1 << 16];
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  const kw::Tensor *tx = kw::tensor(args[0]), *tb = kw::tensor(args[1]), *ty = kw::tensor(args[2]);
  const int64_t m = tx->shape[0], n = 32, total = m * n;
  float *x = (float*)kw::data(tx), *b = (float*)kw::data(tb);
  float* y = (float*)kw::data(ty);
  ++calls;
  BEFORE
  for (int64_t i = 0; i < END; ++i) {
    float v = x[i] + BIAS;
    y[i] = v < 0.f ? 0.f : v;
  }
  AFTER
  return kw::answer(result, 0);
}
"""


def reference(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.relu(x + bias)


def make_task(dynamic: tuple[DynamicSize, ...] = ()) -> Task:
    torch.manual_seed(0)
    return from_callable(
        reference, (torch.randn(ROWS, COLUMNS), torch.randn(COLUMNS)), name="add-relu", dynamic=dynamic
    )


def make_plan(dtype: str = "float32", columns: int = COLUMNS, largest: int = ROWS) -> Plan:
    x = TensorSpec("x", ("s0", COLUMNS), "float32", (COLUMNS, 1))
    bias = TensorSpec("b", (COLUMNS,), "float32", (1,))
    return Plan(
        inputs=(InputSpec(("arg", 0), x), InputSpec(("arg", 1), bias)),
        buffers=(TensorSpec("y", ("s0", columns), dtype, (columns, 1)),),
        steps=(EntryCall("run0", ("x", "b", "y")),),
        results=("y",),
        symbols=(SymbolSpec("s0", 0, 0, 1, largest),),
    )


def make(
    before: str = "", after: str = "", bias: str = "b[i % n]", end: str = "total", plan: Plan | None = None
) -> Candidate:
    source = _SOURCE.replace("BEFORE", before).replace("AFTER", after).replace("BIAS", bias).replace("END", end)
    return Candidate("cpu", "test", source, plan or make_plan(), label="test")


HONEST = make()
EAGER = Candidate("eager", "baseline", "", None, label="eager")
