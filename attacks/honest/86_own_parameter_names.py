# task: linear_bias.py
# class: packing
# mechanism: draws its parameters as the reference does but keeps them under names of its own
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        linear = nn.Linear(inner, outer)
        self.weight, self.bias = nn.Parameter(linear.weight.detach().t().contiguous()), linear.bias

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)
