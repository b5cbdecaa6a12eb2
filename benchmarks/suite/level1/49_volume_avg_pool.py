"""Average pooling that halves a medical volume.

Class: pooling
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 2
channels = 24
depth = 40
side = 80


class Model(nn.Module):
    def forward(self, x):
        return F.avg_pool3d(x, 2)


def get_inputs():
    return [torch.randn(batch, channels, depth, side, side)]


def get_init_inputs():
    return []
