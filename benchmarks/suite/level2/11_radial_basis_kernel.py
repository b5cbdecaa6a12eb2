"""A radial basis kernel matrix: squared distances by a product, then an exponential.

Class: epilogue
"""

import torch
from torch import nn

left = 1280
right = 1024
features = 24


class Model(nn.Module):
    def forward(self, x, y):
        squared = x.square().sum(1)[:, None] + y.square().sum(1)[None, :] - 2.0 * x @ y.T
        return torch.exp(-squared.clamp(min=0.0) / (2.0 * x.shape[1]))


def get_inputs():
    return [torch.randn(left, features), torch.randn(right, features)]


def get_init_inputs():
    return []
