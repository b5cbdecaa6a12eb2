"""Largest element of each column."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.amax(x, dim=0)


def get_inputs():
    return [torch.randn(160, 50)]


def get_init_inputs():
    return []
