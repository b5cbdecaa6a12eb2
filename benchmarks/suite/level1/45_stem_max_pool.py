"""Overlapping, padded max pooling after a residual network's stem.

Class: pooling
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 8
channels = 56
side = 104


class Model(nn.Module):
    def forward(self, x):
        return F.max_pool2d(x, 3, stride=2, padding=1)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return []
