"""Prefix sums over the kept positions only, scaled per row.

Class: scan
"""

import torch
from torch import nn

rows = 1280
length = 2048


class Model(nn.Module):
    def forward(self, x, keep):
        return torch.where(keep, x, 0.0).cumsum(dim=1)


def get_inputs():
    return [torch.randn(rows, length), torch.randn(rows, length) > -0.3]


def get_init_inputs():
    return []
