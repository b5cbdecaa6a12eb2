"""Residual addition and RMSNorm of a LLaMA-like decoder layer, the normalised stream multiplied by a gate.

Class: norm
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 1536
width = 1792


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
        self.norm = nn.RMSNorm(features, eps=1e-5)
        scale_weights(self)

    def forward(self, x, residual, gate):
        return self.norm(x + residual) * F.silu(gate)


def get_inputs():
    return [*(torch.randn(tokens, width) for _ in range(3))]


def get_init_inputs():
    return [width]
