"""Transposed convolution, instance norm, leaky ReLU: one step of an image translation decoder.

Class: epilogue
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
inputs = 112
outputs = 56
side = 36


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
        self.conv = nn.ConvTranspose2d(fan, width, 4, stride=2, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(width, affine=True)
        scale_weights(self)

    def forward(self, x):
        return F.leaky_relu(self.norm(self.conv(x)), 0.2)


def get_inputs():
    return [torch.randn(batch, inputs, side, side)]


def get_init_inputs():
    return [inputs, outputs]
