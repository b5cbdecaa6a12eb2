"""Reflection padding of an image batch before a large filter.

Class: movement
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 6
channels = 40
side = 112


class Model(nn.Module):
    def forward(self, x):
        return F.pad(x, (7, 7, 5, 5), mode="reflect")


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return []
