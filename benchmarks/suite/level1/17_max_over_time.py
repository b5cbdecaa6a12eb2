"""Max-over-time pooling of token features (text CNNs, PointNet): the middle dimension.

Class: reduction
"""

import torch
from torch import nn

batch = 20
tokens = 384
channels = 448


class Model(nn.Module):
    def forward(self, x):
        return x.amax(dim=1)


def get_inputs():
    return [torch.randn(batch, tokens, channels)]


def get_init_inputs():
    return []
