"""Overlapping patches laid out as columns (im2col).

Class: movement
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
channels = 24
side = 76


class Model(nn.Module):
    def forward(self, x):
        return F.unfold(x, 3, padding=1, stride=2)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return []
