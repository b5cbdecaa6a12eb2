"""The grouped 3x3 convolution of a ResNeXt bottleneck.

Class: convolution
"""

import torch
from torch import nn

batch = 8
channels = 192
side = 30
groups = 16


class Model(nn.Module):
    def __init__(self, width, parts):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=parts, bias=False)
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels, groups]
