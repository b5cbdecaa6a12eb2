"""Zero whatever comes in: no verdict on this task proves anything."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.clamp(torch.minimum(x, torch.zeros_like(x)), 0.0, 1.0)


def get_inputs():
    return [torch.randn(16, 32)]


def get_init_inputs():
    return []
