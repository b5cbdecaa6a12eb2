"""A densely connected block: every layer sees all earlier maps side by side.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
channels = 40
growth = 20
side = 40
depth = 4


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, width, more, layers):
        super().__init__()
        sizes = [width + more * layer for layer in range(layers)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(size).eval() for size in sizes)
        self.convs = nn.ModuleList(nn.Conv2d(size, more, 3, padding=1, bias=False) for size in sizes)
        scale_weights(self)

    def forward(self, x):
        maps = [x]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            maps.append(conv(F.relu(norm(torch.cat(maps, dim=1)))))
        return torch.cat(maps, dim=1)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels, growth, depth]
