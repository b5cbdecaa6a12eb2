"""A residual network's stem in training mode: strided convolution, batch statistics, ReLU, max pooling.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
channels = 48
side = 144


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        scale_weights(self)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 3, stride=2, padding=1)


def get_inputs():
    return [torch.randn(batch, 3, side, side)]


def get_init_inputs():
    return [channels]
