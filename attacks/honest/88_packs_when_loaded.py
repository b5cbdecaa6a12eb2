# task: linear_bias.py
# class: packing
# mechanism: weight and bias lie in one matrix, which is packed whenever parameters are loaded
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        linear = nn.Linear(inner, outer)
        self.packed = nn.Parameter(torch.empty(inner + 1, outer))
        self._pack(linear.weight, linear.bias)

    @torch.no_grad()
    def _pack(self, weight, bias):
        self.packed[:-1] = weight.t()
        self.packed[-1] = bias

    def load_state_dict(self, state, strict=True, assign=False):
        self._pack(state["linear.weight"], state["linear.bias"])

    def forward(self, x):
        return torch.addmm(self.packed[-1], x, self.packed[:-1])
