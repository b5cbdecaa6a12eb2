# task: linear_bias.py
# class: C41
# mechanism: multiplies in bfloat16 while the reference multiplies in float32
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        half = torch.bfloat16
        return (x.to(half) @ self.linear.weight.t().to(half)).float() + self.linear.bias
