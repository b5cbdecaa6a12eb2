# task: linear_bias.py
# class: D53
# mechanism: overwrites the parameters with rounded ones before it uses them, so that rounding costs
#   nothing
# expect: rejected input-mutated, value

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        self.linear.weight.data.copy_(self.linear.weight.data.to(torch.bfloat16).float())
        return self.linear(x)
