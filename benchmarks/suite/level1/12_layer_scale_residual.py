"""Bias, learnt per-channel scale and residual at the end of a ConvNeXt or CaiT branch.

Class: pointwise
"""

import torch
from torch import nn

batch = 6
channels = 96
side = 72


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.randn(width, 1, 1))
        self.bias = nn.Parameter(torch.randn(width, 1, 1))

    def forward(self, branch, residual):
        return residual + self.gamma * (branch + self.bias)


def get_inputs():
    return [torch.randn(batch, channels, side, side), torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels]
