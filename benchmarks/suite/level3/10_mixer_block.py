"""An MLP-Mixer block: one feed-forward layer over tokens, one over channels.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
tokens = 144
width = 384
token_hidden = 224
hidden = 1152


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, length, size, token_inner, inner):
        super().__init__()
        self.norm1 = nn.LayerNorm(size)
        self.token_up = nn.Linear(length, token_inner)
        self.token_down = nn.Linear(token_inner, length)
        self.norm2 = nn.LayerNorm(size)
        self.up = nn.Linear(size, inner)
        self.down = nn.Linear(inner, size)
        scale_weights(self)

    def forward(self, x):
        mixed = self.token_down(F.gelu(self.token_up(self.norm1(x).transpose(1, 2))))
        x = x + mixed.transpose(1, 2)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def get_inputs():
    return [torch.randn(batch, tokens, width)]


def get_init_inputs():
    return [tokens, width, token_hidden, hidden]
