"""A linear layer under mixed precision: operands rounded to bfloat16, the result back in float32.

Class: contraction
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 640
width = 768
hidden = 1024


class Model(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)

    def forward(self, x):
        return F.linear(x.bfloat16(), self.weight.bfloat16()).float()


def get_inputs():
    return [torch.randn(tokens, width)]


def get_init_inputs():
    return [width, hidden]
