"""Window attention with a learnt relative position bias (Swin): many small softmaxes.

Class: attention
"""

import torch
import torch.nn.functional as F
from torch import nn

windows = 48
heads = 4
sites = 49
head_size = 32


class Model(nn.Module):
    def __init__(self, count, size, area):
        super().__init__()
        self.heads = count
        self.project = nn.Linear(count * size, 3 * count * size)
        self.bias = nn.Parameter(torch.randn(count, area, area))

    def forward(self, x):
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + self.bias
        return (F.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)


def get_inputs():
    return [torch.randn(windows, sites, heads * head_size)]


def get_init_inputs():
    return [heads, head_size, sites]
