"""A linear layer as torch stores it: the weight is transposed.

Class: contraction
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 832
width = 768
hidden = 2304


class Model(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)

    def forward(self, x):
        return F.linear(x, self.weight)


def get_inputs():
    return [torch.randn(tokens, width)]


def get_init_inputs():
    return [width, hidden]
