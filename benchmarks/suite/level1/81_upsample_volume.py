"""The 2x2x2 transposed convolution of a volumetric U-Net.

Class: transposed convolution
"""

import torch
from torch import nn

batch = 1
inputs = 64
outputs = 32
depth = 20
side = 36


class Model(nn.Module):
    def __init__(self, fan, width):
        super().__init__()
        self.conv = nn.ConvTranspose3d(fan, width, 2, stride=2)
        nn.init.normal_(self.conv.weight, std=(fan) ** -0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, inputs, depth, side, side)]


def get_init_inputs():
    return [inputs, outputs]
