"""RMSNorm written out as in LLaMA-like code.

Class: norm
"""

import torch
from torch import nn

batch = 2
tokens = 768
width = 2048


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-6))


def get_inputs():
    return [torch.randn(batch, tokens, width) * torch.rand(width)]


def get_init_inputs():
    return [width]
