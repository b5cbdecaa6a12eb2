"""Likelihood of a sequence as a product of step factors close to one.

Class: reduction
"""

import torch
from torch import nn

rows = 12288
steps = 288


class Model(nn.Module):
    def forward(self, x):
        return (1.0 + 0.05 * x).prod(dim=-1)


def get_inputs():
    return [torch.randn(rows, steps)]


def get_init_inputs():
    return []
