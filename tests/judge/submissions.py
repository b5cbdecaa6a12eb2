"""A small task and what people hand in for it: ``relu(linear(x))`` with a few rows."""

from __future__ import annotations

TASK = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return torch.relu(self.linear(x))


def get_inputs():
    return [torch.randn(12, 16)]


def get_init_inputs():
    return [16, 8]
"""

_CPP = """
#include <kw/abi.h>
extern "C" int puts(const char*);
BEFORE
extern "C" KW_EXPORT int __tvm_ffi_ENTRY(void*, const kw::Argument* a, int32_t count, kw::Argument* r) {
  if (count != 4) return -1;
  const float *x = (float*)kw::data(kw::tensor(a[0])), *w = (float*)kw::data(kw::tensor(a[1]));
  const float* b = (float*)kw::data(kw::tensor(a[2]));
  float* y = (float*)kw::data(kw::tensor(a[3]));
  for (int i = 0; i < 12; ++i)
    for (int j = 0; j < 8; ++j) {
      float sum = b[j];
      for (int k = 0; k < 16; ++k) sum += x[i * 16 + k] * w[j * 16 + k];
      y[i * 8 + j] = sum > 0 || sum != sum ? sum : 0;
    }
  AFTER
  return kw::answer(r, 0);
}
"""

# No header of ours: what somebody writes who has only the C ABI.
C = """
#include <stdint.h>
typedef struct { uint8_t code, bits; uint16_t lanes; } Type;
typedef struct { void* data; int32_t device, id, ndim; Type type; int64_t *shape, *strides; uint64_t offset; } Tensor;
typedef struct { int32_t kind; uint32_t padding; union { int64_t integer; double real; void* pointer; }; } Any;
static float* data(const Any* a) {
  Tensor* t = a->kind == 7 ? (Tensor*)a->pointer : (Tensor*)((char*)a->pointer + 24);
  return (float*)((char*)t->data + t->offset);
}
int __tvm_ffi_main(void* self, const Any* a, int32_t count, Any* result) {
  float *x = data(a), *w = data(a + 1), *b = data(a + 2), *y = data(a + 3);
  for (int i = 0; i < 12; ++i)
    for (int j = 0; j < 8; ++j) {
      float sum = b[j];
      for (int k = 0; k < 16; ++k) sum += x[i * 16 + k] * w[j * 16 + k];
      y[i * 8 + j] = sum > 0 || sum != sum ? sum : 0;
    }
  return 0;
}
"""

_PYTHON = """
import os
import torch
from torch import nn
BEFORE

class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.NAME = nn.Linear(inner, outer)

    def forward(self, x):
        y = torch.clamp_min(x @ self.NAME.weight.t() + self.NAME.bias, 0)
        BODY
"""

# Weight and bias in one matrix, which follows the reference by the class's own load_state_dict.
PACKED = """
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        linear = nn.Linear(inner, outer)
        self.all = nn.Parameter(torch.cat([linear.weight.detach().t(), linear.bias.detach()[None]]))

    def load_state_dict(self, state, strict=True, assign=False):
        self.all.copy_(torch.cat([state["linear.weight"].t(), state["linear.bias"][None]]))

    def forward(self, x):
        return torch.relu(torch.addmm(self.all[-1], x, self.all[:-1]))
"""


def cpp(*, before: str = "", after: str = "", entry: str = "main") -> str:
    return _CPP.replace("BEFORE", before).replace("AFTER", after).replace("ENTRY", entry)


def python(body: str = "return y", *, before: str = "", name: str = "linear") -> str:
    return _PYTHON.replace("BEFORE", before).replace("BODY", body).replace("NAME", name)
