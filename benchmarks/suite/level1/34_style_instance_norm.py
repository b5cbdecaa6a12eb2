"""InstanceNorm of a style-transfer network.

Class: norm
"""

import torch
from torch import nn

batch = 4
channels = 72
side = 100


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.InstanceNorm2d(features, affine=True)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        return self.norm(x)


def get_inputs():
    return [torch.randn(batch, channels, side, side) * torch.rand(channels, 1, 1)]


def get_init_inputs():
    return [channels]
