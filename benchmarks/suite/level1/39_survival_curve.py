"""A survival curve: running products of factors close to one.

Class: scan
"""

import torch
from torch import nn

subjects = 2304
steps = 1280


class Model(nn.Module):
    def forward(self, x):
        return torch.cumprod(1.0 + 0.02 * x, dim=-1)


def get_inputs():
    return [torch.randn(subjects, steps)]


def get_init_inputs():
    return []
