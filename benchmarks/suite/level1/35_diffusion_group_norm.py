"""GroupNorm of a diffusion U-Net's mid resolution.

Class: norm
"""

import torch
from torch import nn

batch = 6
channels = 320
side = 40
groups = 32


class Model(nn.Module):
    def __init__(self, parts, features):
        super().__init__()
        self.norm = nn.GroupNorm(parts, features)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        return self.norm(x)


def get_inputs():
    return [torch.randn(batch, channels, side, side) + torch.randn(channels, 1, 1)]


def get_init_inputs():
    return [groups, channels]
