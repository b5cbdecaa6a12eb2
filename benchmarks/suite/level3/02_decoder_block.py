"""A GPT-style block: causal attention written out with a mask, tanh GELU, residuals.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 2
tokens = 224
width = 384
heads = 6


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, size, count, length):
        super().__init__()
        self.heads = count
        self.norm1 = nn.LayerNorm(size)
        self.packed = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.norm2 = nn.LayerNorm(size)
        self.up = nn.Linear(size, 4 * size)
        self.down = nn.Linear(4 * size, size)
        self.register_buffer("future", torch.ones(length, length, dtype=torch.bool).triu(1))
        scale_weights(self)

    def forward(self, x):
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.packed(self.norm1(x)).chunk(3, dim=-1)
        )
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        weights = F.softmax(scores.masked_fill(self.future, float("-inf")), dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


def get_inputs():
    return [torch.randn(batch, tokens, width)]


def get_init_inputs():
    return [width, heads, tokens]
