"""Adaptive average pooling to a fixed grid whose windows do not divide the map evenly.

Class: pooling
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 12
channels = 256
side = 33
grid = 7


class Model(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return F.adaptive_avg_pool2d(x, self.size)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [grid]
