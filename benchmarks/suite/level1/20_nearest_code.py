"""The nearest code of a vector quantiser, from precomputed distances with codes in the middle dimension.

Class: reduction
"""

import torch
from torch import nn

batch = 12
codes = 512
sites = 784


class Model(nn.Module):
    def forward(self, x):
        return x.argmin(dim=1)


def get_inputs():
    return [torch.randn(batch, codes, sites)]


def get_init_inputs():
    return []
