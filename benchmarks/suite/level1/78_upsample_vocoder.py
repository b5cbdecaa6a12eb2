"""A vocoder's upsampling layer (HiFi-GAN): 1-D, stride eight.

Class: transposed convolution
"""

import torch
from torch import nn

batch = 3
inputs = 144
outputs = 72
frames = 208


class Model(nn.Module):
    def __init__(self, fan, width):
        super().__init__()
        self.conv = nn.ConvTranspose1d(fan, width, 16, stride=8, padding=4)
        nn.init.normal_(self.conv.weight, std=(2 * fan) ** -0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, inputs, frames)]


def get_init_inputs():
    return [inputs, outputs]
