"""Patch embedding of a vision transformer: kernel and stride are the same.

Class: convolution
"""

import torch
from torch import nn

batch = 6
colours = 3
width = 448
side = 208
patch = 16


class Model(nn.Module):
    def __init__(self, inputs, outputs, size):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride=size)
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, colours, side, side)]


def get_init_inputs():
    return [colours, width, patch]
