"""A 1x9 convolution, half of a factorised large kernel (SegNeXt, Inception).

Class: convolution
"""

import torch
from torch import nn

batch = 4
channels = 88
height = 40
width = 56


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.conv = nn.Conv2d(features, features, (1, 9), padding=(0, 4))
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, channels, height, width)]


def get_init_inputs():
    return [channels]
