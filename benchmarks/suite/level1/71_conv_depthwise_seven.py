"""The depthwise 7x7 convolution of ConvNeXt.

Class: convolution
"""

import torch
from torch import nn

batch = 4
channels = 112
side = 54


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels]
