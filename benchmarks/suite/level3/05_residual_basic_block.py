"""A residual basic block at inference, with a strided shortcut.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
inputs = 48
outputs = 96
side = 52


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
        self.conv1 = nn.Conv2d(fan, width, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width).eval()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width).eval()
        self.shortcut = nn.Conv2d(fan, width, 1, stride=2, bias=False)
        self.norm3 = nn.BatchNorm2d(width).eval()
        scale_weights(self)

    def forward(self, x):
        hidden = F.relu(self.norm1(self.conv1(x)))
        hidden = self.norm2(self.conv2(hidden))
        return F.relu(hidden + self.norm3(self.shortcut(x)))


def get_inputs():
    return [torch.randn(batch, inputs, side, side)]


def get_init_inputs():
    return [inputs, outputs]
