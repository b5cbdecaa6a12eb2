"""Pixel shuffle of a super-resolution head.

Class: movement
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
channels = 16
side = 96
factor = 3


class Model(nn.Module):
    def __init__(self, ratio):
        super().__init__()
        self.factor = ratio

    def forward(self, x):
        return F.pixel_shuffle(x, self.factor)


def get_inputs():
    return [torch.randn(batch, channels * factor**2, side, side)]


def get_init_inputs():
    return [factor]
