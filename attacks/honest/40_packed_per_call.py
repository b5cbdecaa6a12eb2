# task: linear_bias.py
# class: packing
# mechanism: the weights are packed anew in each call
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        packed = self.linear.weight.t().contiguous()
        return torch.addmm(self.linear.bias, x, packed)
