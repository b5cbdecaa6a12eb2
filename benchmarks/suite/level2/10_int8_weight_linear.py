"""A linear layer with int8 weights and one scale per output channel.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 320
width = 1024
hidden = 1536


class Model(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.register_buffer("weight", torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8))
        self.scale = nn.Parameter(torch.rand(outputs) * inputs**-0.5 / 73)
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype)) * self.scale + self.bias


def get_inputs():
    return [torch.randn(tokens, width)]


def get_init_inputs():
    return [width, hidden]
