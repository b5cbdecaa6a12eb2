"""Adaptive LayerNorm of a diffusion transformer: shift, scale and gate come from the condition.

Class: norm
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 6
tokens = 256
width = 768


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.modulate = nn.Linear(features, 3 * features)
        scale_weights(self)

    def forward(self, x, condition):
        shift, scale, gate = self.modulate(F.silu(condition))[:, None, :].chunk(3, dim=-1)
        normed = F.layer_norm(x, x.shape[-1:], eps=1e-6)
        return x + gate * (normed * (1.0 + scale) + shift)


def get_inputs():
    return [torch.randn(batch, tokens, width), torch.randn(batch, width)]


def get_init_inputs():
    return [width]
