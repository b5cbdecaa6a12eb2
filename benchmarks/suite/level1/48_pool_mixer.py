"""The token mixer of PoolFormer: average pooling minus the input, padding not counted.

Class: pooling
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 6
channels = 96
side = 64


class Model(nn.Module):
    def forward(self, x):
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False) - x


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return []
