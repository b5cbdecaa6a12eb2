"""The first half of a transformer's feed-forward layer: projection, bias, GELU.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 640
width = 704
hidden = 2816


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.up = nn.Linear(inputs, outputs)
        scale_weights(self)

    def forward(self, x):
        return F.gelu(self.up(x))


def get_inputs():
    return [torch.randn(tokens, width)]


def get_init_inputs():
    return [width, hidden]
