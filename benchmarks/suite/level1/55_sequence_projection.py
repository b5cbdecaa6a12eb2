"""A sequence batch times one matrix: three dimensions by two.

Class: contraction
"""

import torch
from torch import nn

batch = 6
tokens = 176
width = 640
hidden = 896


class Model(nn.Module):
    def forward(self, x, weight):
        return torch.matmul(x, weight)


def get_inputs():
    return [torch.randn(batch, tokens, width), torch.randn(width, hidden)]


def get_init_inputs():
    return []
