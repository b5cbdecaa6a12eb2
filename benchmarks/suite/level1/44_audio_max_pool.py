"""Max pooling over time in an audio network, windows that overlap.

Class: pooling
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 12
channels = 160
samples = 2400


class Model(nn.Module):
    def forward(self, x):
        return F.max_pool1d(x, 5, stride=2, padding=2)


def get_inputs():
    return [torch.randn(batch, channels, samples)]


def get_init_inputs():
    return []
