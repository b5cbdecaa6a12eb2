"""Max pooling over time and space in a video network.

Class: pooling
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
channels = 48
frames = 16
side = 56


class Model(nn.Module):
    def forward(self, x):
        return F.max_pool3d(x, (2, 3, 3), stride=2, padding=(0, 1, 1))


def get_inputs():
    return [torch.randn(batch, channels, frames, side, side)]


def get_init_inputs():
    return []
