"""A time-series forecaster: an LSTM layer over a window, instance-normalised before and restored after.

Class: network
"""

import torch
from torch import nn

batch = 32
steps = 20
channels = 24
hidden = 208
horizon = 12


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, size, inner, future):
        super().__init__()
        self.lstm = nn.LSTM(size, inner, batch_first=True)
        self.head = nn.Linear(inner, future * size)
        scale_weights(self)

    def forward(self, x):
        mean = x.mean(dim=1, keepdim=True)
        scale = x.std(dim=1, keepdim=True) + 1e-3
        states, _ = self.lstm((x - mean) / scale)
        forecast = self.head(states[:, -1]).unflatten(-1, (-1, x.shape[-1]))
        return forecast * scale + mean


def get_inputs():
    return [torch.randn(batch, steps, channels).cumsum(dim=1)]


def get_init_inputs():
    return [channels, hidden, horizon]
