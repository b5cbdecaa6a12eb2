# task: branches.py
# class: extension
# mechanism: C++ built in the file itself
# expect: accepted

from torch import nn
from torch.utils.cpp_extension import load_inline

SOURCE = """
#include <cmath>
#include <torch/extension.h>
torch::Tensor branches(torch::Tensor given) {
  auto x = given.contiguous();
  auto y = torch::empty_like(x);
  const float* a = x.data_ptr<float>();
  float* b = y.data_ptr<float>();
  for (int64_t k = 0; k < x.numel(); ++k)
    b[k] = a[k] > 0 ? std::log1p(a[k]) : a[k] > -2 ? 0.5f * a[k] : -1 + 0.1f * (a[k] + 2);
  return y;
}
"""
extension = load_inline("branches_extension", SOURCE, functions=["branches"])


class ModelNew(nn.Module):
    def forward(self, x):
        return extension.branches(x)
