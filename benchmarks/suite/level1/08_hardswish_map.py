"""Hardswish, the activation of MobileNetV3, on an early wide feature map.

Class: pointwise
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 10
channels = 72
side = 56


class Model(nn.Module):
    def forward(self, x):
        return F.hardswish(3.0 * x)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return []
