"""Cumulative sum along rows."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, dim=1)


def get_inputs():
    return [torch.randn(32, 200)]


def get_init_inputs():
    return []
