"""A ConvNeXt block: depthwise 7x7, LayerNorm over channels, two pointwise layers, layer scale, residual.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
channels = 96
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
    def __init__(self, width):
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.ones(width))
        scale_weights(self)

    def forward(self, x):
        hidden = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        hidden = self.gamma * self.down(F.gelu(self.up(hidden)))
        return x + hidden.permute(0, 3, 1, 2)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels]
