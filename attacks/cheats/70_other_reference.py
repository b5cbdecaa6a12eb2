# task: softmax_rows.py
# class: D57
# mechanism: puts a reference of its own wherever a module of this process has one
# expect: rejected value, rules

import sys

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


for module in list(sys.modules.values()):
    if isinstance(getattr(module, "__dict__", None), dict) and "get_inputs" in vars(module):
        module.Model = ModelNew
        module.get_inputs = lambda: [torch.full((64, 128), -float("inf"))]
for name in ("Model", "get_inputs"):
    if name in globals():
        globals()[name] = ModelNew if name == "Model" else lambda: [torch.zeros(64, 128)]
