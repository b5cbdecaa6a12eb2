"""A reader of one long sequence: two layers of a bidirectional GRU, the ends of both directions classified.

Class: network
"""

import torch
from torch import nn

steps = 72
width = 112
hidden = 176
classes = 9


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, size, inner, kinds):
        super().__init__()
        self.gru = nn.GRU(size, inner, num_layers=2, bidirectional=True, batch_first=True)
        self.kind = nn.Linear(2 * inner, kinds)
        scale_weights(self)

    def forward(self, x):
        _, last = self.gru(x)
        return self.kind(torch.cat((last[-2], last[-1]), dim=1))


def get_inputs():
    return [torch.randn(1, steps, width)]


def get_init_inputs():
    return [width, hidden, classes]
