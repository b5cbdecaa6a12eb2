# task: half_linear.py
# class: precision
# mechanism: float64 inside a bfloat16 task, rounded once
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer).to(torch.bfloat16)

    def forward(self, x):
        y = x.double() @ self.linear.weight.double().t() + self.linear.bias.double()
        return y.to(torch.bfloat16)
