"""Depthwise 3x3, stored batch norm, ReLU6, pointwise 1x1: a mobile network's separable unit.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 6
inputs = 96
outputs = 160
side = 42


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, fan, width):
        super().__init__()
        self.spatial = nn.Conv2d(fan, fan, 3, padding=1, groups=fan, bias=False)
        self.norm = nn.BatchNorm2d(fan).eval()
        self.widen = nn.Conv2d(fan, width, 1)
        scale_weights(self)

    def forward(self, x):
        return self.widen(F.relu6(self.norm(self.spatial(x))))


def get_inputs():
    return [torch.randn(batch, inputs, side, side)]


def get_init_inputs():
    return [inputs, outputs]
