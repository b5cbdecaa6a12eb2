"""An LSTM cell written out and run over time, the last hidden and cell states joined.

Class: recurrent
"""

import torch
from torch import nn

batch = 32
steps = 14
width = 224


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
        self.inputs = nn.Linear(size, 4 * size)
        self.recurrent = nn.Linear(size, 4 * size)
        scale_weights(self)

    def forward(self, x):
        hidden = torch.zeros_like(x[:, 0])
        cell = torch.zeros_like(x[:, 0])
        for step in range(x.shape[1]):
            gates = self.inputs(x[:, step]) + self.recurrent(hidden)
            enter, forget, new, leave = gates.chunk(4, dim=-1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            hidden = torch.sigmoid(leave) * torch.tanh(cell)
        return torch.cat((hidden, cell), dim=-1)


def get_inputs():
    return [torch.randn(batch, steps, width)]


def get_init_inputs():
    return [width]
