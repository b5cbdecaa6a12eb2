"""WaveNet's gated unit: a causal dilated convolution, tanh times sigmoid, 1x1 projection, residual.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 2
channels = 64
steps = 2304
dilation = 8


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, width, spread):
        super().__init__()
        self.left = spread
        self.conv = nn.Conv1d(width, 2 * width, 2, dilation=spread)
        self.project = nn.Conv1d(width, width, 1)
        scale_weights(self)

    def forward(self, x):
        filtered, gate = self.conv(F.pad(x, (self.left, 0))).chunk(2, dim=1)
        return x + self.project(torch.tanh(filtered) * torch.sigmoid(gate))


def get_inputs():
    return [torch.randn(batch, channels, steps)]


def get_init_inputs():
    return [channels, dilation]
