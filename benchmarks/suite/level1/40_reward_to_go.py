"""Rewards to go of reinforcement learning: a sum from the end, over the middle dimension.

Class: scan
"""

import torch
from torch import nn

episodes = 48
steps = 640
agents = 80


class Model(nn.Module):
    def forward(self, x):
        return x.flip(1).cumsum(dim=1).flip(1)


def get_inputs():
    return [torch.randn(episodes, steps, agents)]


def get_init_inputs():
    return []
