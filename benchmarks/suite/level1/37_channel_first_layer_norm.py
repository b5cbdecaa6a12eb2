"""LayerNorm over the channels of an NCHW map, as ConvNeXt's downsampling layers need it.

Class: norm
"""

import torch
from torch import nn

batch = 6
channels = 192
side = 44


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, 1, 1))
        self.bias = nn.Parameter(torch.randn(features, 1, 1))

    def forward(self, x):
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        return self.weight * (centred / torch.sqrt(variance + 1e-6)) + self.bias


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels]
