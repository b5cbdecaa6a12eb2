"""Convolution, pixel shuffle and a per-channel PReLU: the upsampling head of super-resolution networks.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 2
channels = 40
side = 64
factor = 2


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, width, ratio):
        super().__init__()
        self.factor = ratio
        self.conv = nn.Conv2d(width, width * ratio**2, 3, padding=1)
        self.slope = nn.Parameter(torch.full((width,), 0.25))
        scale_weights(self)

    def forward(self, x):
        return F.prelu(F.pixel_shuffle(self.conv(x), self.factor), self.slope)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels, factor]
