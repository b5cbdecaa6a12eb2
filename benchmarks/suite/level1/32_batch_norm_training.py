"""BatchNorm in training mode on feature maps: batch statistics, and running ones updated.

Class: norm
"""

import torch
from torch import nn

batch = 8
channels = 96
side = 56


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm2d(features)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        return self.norm(x)


def get_inputs():
    return [2.0 * torch.randn(batch, channels, side, side) + 0.5]


def get_init_inputs():
    return [channels]
