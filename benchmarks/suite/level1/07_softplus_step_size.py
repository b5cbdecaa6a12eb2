"""Step sizes of a Mamba-like state-space layer: softplus of a projection plus a learnt bias, clamped from below.

Class: pointwise
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
tokens = 896
channels = 1536


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return F.softplus(x + self.bias).clamp(min=1e-3)


def get_inputs():
    return [2.0 * torch.randn(batch, tokens, channels)]


def get_init_inputs():
    return [channels]
