"""GELU with the error function, on the hidden layer of a BERT-sized feed-forward block.

Class: pointwise
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 6
tokens = 320
hidden = 3072


class Model(nn.Module):
    def forward(self, x):
        return F.gelu(x)


def get_inputs():
    return [torch.randn(batch, tokens, hidden)]


def get_init_inputs():
    return []
