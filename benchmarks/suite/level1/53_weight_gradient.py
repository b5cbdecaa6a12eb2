"""Gradient of a linear layer's weight: the left operand is transposed, and the sum runs over tokens.

Class: contraction
"""

import torch
from torch import nn

tokens = 3328
inputs = 576
outputs = 704


class Model(nn.Module):
    def forward(self, gradient, x):
        return gradient.mT @ x


def get_inputs():
    return [torch.randn(tokens, outputs), torch.randn(tokens, inputs)]


def get_init_inputs():
    return []
