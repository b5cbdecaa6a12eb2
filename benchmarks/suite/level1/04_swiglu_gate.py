"""The SwiGLU gate of LLaMA-like models, on a packed projection that holds gate and value side by side.

Class: pointwise
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 2
tokens = 640
hidden = 2752


class Model(nn.Module):
    def forward(self, x):
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate) * value


def get_inputs():
    return [torch.randn(batch, tokens, 2 * hidden)]


def get_init_inputs():
    return []
