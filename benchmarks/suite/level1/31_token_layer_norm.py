"""LayerNorm over the features of a ViT-Base-like token stream.

Class: norm
"""

import torch
from torch import nn

batch = 10
tokens = 256
width = 768


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.LayerNorm(features)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        return self.norm(x)


def get_inputs():
    return [3.0 * torch.randn(batch, tokens, width) + 1.0]


def get_init_inputs():
    return [width]
