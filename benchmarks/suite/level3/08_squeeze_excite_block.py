"""A convolution followed by squeeze and excitation: global pooling, two small layers, channel gates.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
channels = 96
side = 40
reduced = 16


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.squeeze = nn.Linear(width, inner)
        self.excite = nn.Linear(inner, width)
        scale_weights(self)

    def forward(self, x):
        hidden = F.silu(self.conv(x))
        gate = self.excite(F.silu(self.squeeze(hidden.mean(dim=(2, 3)))))
        return x + hidden * torch.sigmoid(gate)[:, :, None, None]


def get_inputs():
    return [torch.randn(batch, channels, side, side)]


def get_init_inputs():
    return [channels, reduced]
