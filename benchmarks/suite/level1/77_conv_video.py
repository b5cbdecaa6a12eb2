"""A 3x3x3 convolution of a video network.

Class: convolution
"""

import torch
from torch import nn

batch = 1
inputs = 24
outputs = 40
frames = 14
side = 40


class Model(nn.Module):
    def __init__(self, fan, width):
        super().__init__()
        self.conv = nn.Conv3d(fan, width, 3, padding=1)
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, inputs, frames, side, side)]


def get_init_inputs():
    return [inputs, outputs]
