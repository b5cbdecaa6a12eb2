"""The depthwise 31x31 convolution of RepLKNet: a kernel larger than most maps' receptive fields.

Class: convolution
"""

import torch
from torch import nn

batch = 1
channels = 48
side = 44


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 31, padding=15, groups=width, bias=False)
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels]
