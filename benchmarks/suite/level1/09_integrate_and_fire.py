"""One step of leaky integrate-and-fire neurons with a soft reset: a threshold per channel decides between two branches.

Class: pointwise
"""

import torch
from torch import nn

batch = 96
channels = 128
sites = 256


class Model(nn.Module):
    def forward(self, potential, current, threshold):
        charged = 0.9 * potential + current
        return torch.where(potential > threshold, charged - threshold, charged).clamp(-2.0, 3.0)


def get_inputs():
    return [torch.randn(batch, channels, sites), torch.randn(batch, channels, sites), torch.randn(channels, 1)]


def get_init_inputs():
    return []
