"""The second half of a feed-forward layer: projection, bias, learnt scale, residual.

Class: epilogue
"""

import torch
from torch import nn

tokens = 576
hidden = 2560
width = 640


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
        self.down = nn.Linear(inputs, outputs)
        self.gamma = nn.Parameter(torch.ones(outputs))
        scale_weights(self)

    def forward(self, x, residual):
        return residual + self.gamma * self.down(x)


def get_inputs():
    return [torch.randn(tokens, hidden), torch.randn(tokens, width)]


def get_init_inputs():
    return [hidden, width]
