"""Squared ReLU, the activation of Primer and of Nemotron's feed-forward layers.

Class: pointwise
"""

import torch
import torch.nn.functional as F
from torch import nn

rows = 2048
width = 3072


class Model(nn.Module):
    def forward(self, x):
        return torch.square(F.relu(x))


def get_inputs():
    return [torch.randn(rows, width)]


def get_init_inputs():
    return []
