# task: half_linear.py
# class: precision
# mechanism: two halves of the sum, the second continued from the first, which is rounded to bfloat16
#   in between
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer).to(torch.bfloat16)

    def forward(self, x):
        w = self.linear.weight
        bias = self.linear.bias.float()
        first = (x[:, :32].float() @ w[:, :32].float().t() + bias).to(torch.bfloat16)
        return (x[:, 32:].float() @ w[:, 32:].float().t() + first.float()).to(torch.bfloat16)
