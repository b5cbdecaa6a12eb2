"""A 1x1 convolution that widens channels: a matrix product in another layout.

Class: convolution
"""

import torch
from torch import nn

batch = 6
inputs = 176
outputs = 416
side = 30


class Model(nn.Module):
    def __init__(self, fan, width):
        super().__init__()
        self.conv = nn.Conv2d(fan, width, 1)
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, inputs, side, side)]


def get_init_inputs():
    return [inputs, outputs]
