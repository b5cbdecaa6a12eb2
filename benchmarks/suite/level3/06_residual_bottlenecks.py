"""A stage of three residual bottlenecks with batch statistics, as in training.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
channels = 160
side = 28
depth = 3


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Bottleneck(nn.Module):
    def __init__(self, width):
        super().__init__()
        inner = width // 4
        self.branch = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x):
        return F.relu(x + self.branch(x))


class Model(nn.Module):
    def __init__(self, width, count):
        super().__init__()
        self.stage = nn.Sequential(*(Bottleneck(width) for _ in range(count)))
        scale_weights(self)

    def forward(self, x):
        return self.stage(x)


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels, depth]
