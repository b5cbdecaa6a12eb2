"""Decoding one token: matrix times vector, bound by memory.

Class: contraction
"""

import torch
from torch import nn

rows = 7168
width = 2816


class Model(nn.Module):
    def forward(self, matrix, vector):
        return matrix @ vector


def get_inputs():
    return [torch.randn(rows, width), torch.randn(width)]


def get_init_inputs():
    return []
