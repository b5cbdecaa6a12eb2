"""A projection whose features are normalised in groups and gated, the head of a retention layer.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 896
width = 576
hidden = 768
groups = 12


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, inputs, outputs, parts):
        super().__init__()
        self.project = nn.Linear(inputs, outputs)
        self.norm = nn.GroupNorm(parts, outputs)
        scale_weights(self)

    def forward(self, x, gate):
        return F.silu(gate) * self.norm(self.project(x))


def get_inputs():
    return [torch.randn(tokens, width), torch.randn(tokens, hidden)]


def get_init_inputs():
    return [width, hidden, groups]
