"""The GEGLU gate of T5 v1.1 and of Stable Diffusion's transformer blocks.

Class: pointwise
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
tokens = 384
hidden = 2304


class Model(nn.Module):
    def forward(self, x):
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


def get_inputs():
    return [torch.randn(batch, tokens, 2 * hidden)]


def get_init_inputs():
    return []
