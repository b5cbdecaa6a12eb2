# task: linear_bias.py
# class: other operator
# mechanism: einsum instead of a linear layer
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return torch.einsum("nk,ok->no", x, self.linear.weight) + self.linear.bias
