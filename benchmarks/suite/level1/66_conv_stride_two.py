"""A 5x5 convolution with stride two on a camera image, the stem of small detectors.

Class: convolution
"""

import torch
from torch import nn

batch = 4
colours = 3
channels = 40
height = 180
width = 240


class Model(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, colours, height, width)]


def get_init_inputs():
    return [colours, channels]
