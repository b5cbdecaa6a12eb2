"""A linear layer with a LoRA adapter of rank sixteen.

Class: epilogue
"""

import torch
from torch import nn

tokens = 704
width = 896
hidden = 896
rank = 16


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, inputs, outputs, inner):
        super().__init__()
        self.base = nn.Linear(inputs, outputs)
        self.reduce = nn.Linear(inputs, inner, bias=False)
        self.expand = nn.Linear(inner, outputs, bias=False)
        scale_weights(self)

    def forward(self, x):
        return self.base(x) + 2.0 * self.expand(self.reduce(x))


def get_inputs():
    return [torch.randn(tokens, width)]


def get_init_inputs():
    return [width, hidden, rank]
