"""Both projections of a SwiGLU layer and their gate: two products share one input.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 448
width = 640
hidden = 1728


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
        self.gate = nn.Linear(inputs, outputs, bias=False)
        self.up = nn.Linear(inputs, outputs, bias=False)
        scale_weights(self)

    def forward(self, x):
        return F.silu(self.gate(x)) * self.up(x)


def get_inputs():
    return [torch.randn(tokens, width)]


def get_init_inputs():
    return [width, hidden]
