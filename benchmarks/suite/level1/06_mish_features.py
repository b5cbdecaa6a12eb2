"""Mish on the feature maps of a YOLOv4-like detector.

Class: pointwise
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
channels = 80
side = 112


class Model(nn.Module):
    def forward(self, x):
        return F.mish(x)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return []
