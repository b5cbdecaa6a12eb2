"""The router of a mixture of experts: a narrow projection, then a softmax over its rows.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 3072
width = 1024
experts = 48


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
        self.router = nn.Linear(inputs, outputs, bias=False)
        scale_weights(self)

    def forward(self, x):
        return F.softmax(1.5 * self.router(x), dim=-1)


def get_inputs():
    return [torch.randn(tokens, width)]


def get_init_inputs():
    return [width, experts]
