"""Volumetric convolution, leaky ReLU, average pooling (V-Net-like encoders).

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 2
inputs = 12
outputs = 24
side = 28


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
        self.conv = nn.Conv3d(fan, width, 3, padding=1)
        scale_weights(self)

    def forward(self, x):
        return F.avg_pool3d(F.leaky_relu(self.conv(x), 0.1), 2)


def get_inputs():
    return [torch.randn(batch, inputs, side, side, side)]


def get_init_inputs():
    return [inputs, outputs]
