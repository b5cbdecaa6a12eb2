"""A product of two square matrices in the range where blocking for caches begins to matter.

Class: contraction
"""

import torch
from torch import nn

size = 1152


class Model(nn.Module):
    def forward(self, a, b):
        return a @ b


def get_inputs():
    return [torch.randn(size, size), torch.randn(size, size)]


def get_init_inputs():
    return []
