"""A vanilla recurrent network as a loop over time; the input projection is done for all steps at once.

Class: recurrent
"""

import torch
from torch import nn

batch = 48
steps = 20
width = 256


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.inputs = nn.Linear(size, size)
        self.recurrent = nn.Linear(size, size, bias=False)
        scale_weights(self)

    def forward(self, x):
        driven = self.inputs(x)
        state = torch.zeros_like(driven[:, 0])
        for step in range(x.shape[1]):
            state = torch.tanh(driven[:, step] + self.recurrent(state))
        return state


def get_inputs():
    return [torch.randn(batch, steps, width)]


def get_init_inputs():
    return [width]
