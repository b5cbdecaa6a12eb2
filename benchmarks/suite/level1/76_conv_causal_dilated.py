"""A causal dilated 1-D convolution of WaveNet: padding on the left only.

Class: convolution
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
channels = 96
steps = 2048
dilation = 16


class Model(nn.Module):
    def __init__(self, width, spread):
        super().__init__()
        self.left = 2 * spread
        self.conv = nn.Conv1d(width, width, 3, dilation=spread)
        nn.init.normal_(self.conv.weight, std=(3 * width) ** -0.5)

    def forward(self, x):
        return self.conv(F.pad(x, (self.left, 0)))


def get_inputs():
    return [torch.randn(batch, channels, steps)]


def get_init_inputs():
    return [channels, dilation]
