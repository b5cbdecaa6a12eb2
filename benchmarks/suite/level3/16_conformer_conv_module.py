"""The convolution module of a Conformer: gated pointwise, depthwise over time, norm, SiLU, pointwise, residual.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
frames = 240
width = 192


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.widen = nn.Conv1d(size, 2 * size, 1)
        self.time = nn.Conv1d(size, size, 31, padding=15, groups=size)
        self.batch_norm = nn.BatchNorm1d(size).eval()
        self.project = nn.Conv1d(size, size, 1)
        scale_weights(self)

    def forward(self, x):
        hidden = F.glu(self.widen(self.norm(x).transpose(1, 2)), dim=1)
        hidden = F.silu(self.batch_norm(self.time(hidden)))
        return x + self.project(hidden).transpose(1, 2)


def get_inputs():
    return [torch.randn(batch, frames, width)]


def get_init_inputs():
    return [width]
