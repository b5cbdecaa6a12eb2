"""Linear distance penalties (ALiBi) added to attention scores: positions become values.

Class: pointwise
"""

import torch
from torch import nn

heads = 10
length = 512


class Model(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.register_buffer("slopes", 2.0 ** (-0.8 * torch.arange(1, count + 1)))

    def forward(self, scores):
        position = torch.arange(scores.shape[-1])
        distance = (position[None, :] - position[:, None]).abs()
        return scores - self.slopes[:, None, None] * distance


def get_inputs():
    return [4.0 * torch.randn(heads, length, length)]


def get_init_inputs():
    return [heads]
