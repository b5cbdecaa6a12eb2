"""GELU in its tanh form, as GPT-2 checkpoints use it, on a hidden layer with its bias.

Class: pointwise
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
tokens = 448
hidden = 2560


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return F.gelu(x + self.bias, approximate="tanh")


def get_inputs():
    return [torch.randn(batch, tokens, hidden)]


def get_init_inputs():
    return [hidden]
