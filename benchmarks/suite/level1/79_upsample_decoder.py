"""A decoder's 4x4 transposed convolution that doubles a map's side.

Class: transposed convolution
"""

import torch
from torch import nn

batch = 4
inputs = 104
outputs = 56
side = 30


class Model(nn.Module):
    def __init__(self, fan, width):
        super().__init__()
        self.conv = nn.ConvTranspose2d(fan, width, 4, stride=2, padding=1)
        nn.init.normal_(self.conv.weight, std=(4 * fan) ** -0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, inputs, side, side)]


def get_init_inputs():
    return [inputs, outputs]
