"""A grouped 3x3 transposed convolution with output padding.

Class: transposed convolution
"""

import torch
from torch import nn

batch = 4
channels = 96
side = 36
groups = 4


class Model(nn.Module):
    def __init__(self, width, parts):
        super().__init__()
        self.conv = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1, groups=parts, bias=False)
        nn.init.normal_(self.conv.weight, std=(9 * width / (4 * parts)) ** -0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels, groups]
