"""Rotary position embedding of queries, with the two halves rotated against each other.

Class: pointwise
"""

import torch
from torch import nn

batch = 2
heads = 18
tokens = 768
head_size = 80


class Model(nn.Module):
    def __init__(self, length, size):
        super().__init__()
        frequency = 10000.0 ** (-torch.arange(0, size, 2) / size)
        angle = torch.outer(torch.arange(length), frequency).repeat(1, 2)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, x):
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat((-second, first), dim=-1) * self.sin


def get_inputs():
    return [torch.randn(batch, heads, tokens, head_size)]


def get_init_inputs():
    return [tokens, head_size]
