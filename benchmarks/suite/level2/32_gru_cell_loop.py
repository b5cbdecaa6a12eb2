"""A GRU cell written out and run over time, all states returned.

Class: recurrent
"""

import torch
from torch import nn

batch = 40
steps = 12
width = 192


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
        self.inputs = nn.Linear(size, 3 * size)
        self.recurrent = nn.Linear(size, 3 * size)
        scale_weights(self)

    def forward(self, x):
        state = torch.zeros_like(x[:, 0])
        states = []
        for step in range(x.shape[1]):
            reset_in, update_in, new_in = self.inputs(x[:, step]).chunk(3, dim=-1)
            reset_h, update_h, new_h = self.recurrent(state).chunk(3, dim=-1)
            update = torch.sigmoid(update_in + update_h)
            new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_h) * new_h)
            state = update * state + (1.0 - update) * new
            states.append(state)
        return torch.stack(states, dim=1)


def get_inputs():
    return [torch.randn(batch, steps, width)]


def get_init_inputs():
    return [width]
