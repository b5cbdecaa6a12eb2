"""Cyclic shift and window partition of a Swin transformer.

Class: movement
"""

import torch
from torch import nn

batch = 6
side = 56
width = 144
window = 7


class Model(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.window = size

    def forward(self, x):
        shifted = torch.roll(x, (-3, -3), dims=(1, 2))
        count = x.shape[1] // self.window
        blocks = shifted.view(x.shape[0], count, self.window, count, self.window, x.shape[3])
        return blocks.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.window**2, x.shape[3])


def get_inputs():
    return [torch.randn(batch, side, side, width)]


def get_init_inputs():
    return [window]
