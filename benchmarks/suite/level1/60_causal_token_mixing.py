"""A learnt lower-triangular matrix mixes tokens (gMLP, TNL): half of the product is zero.

Class: contraction
"""

import torch
from torch import nn

batch = 4
tokens = 640
channels = 256


class Model(nn.Module):
    def forward(self, mix, x):
        return torch.tril(mix) @ x


def get_inputs():
    return [torch.randn(tokens, tokens) * tokens**-0.5, torch.randn(batch, tokens, channels)]


def get_init_inputs():
    return []
