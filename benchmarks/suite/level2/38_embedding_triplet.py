"""Triplet margin loss of projected embeddings; anchors, positives and negatives share the projection.

Class: loss
"""

import torch
import torch.nn.functional as F
from torch import nn

triplets = 1024
width = 384
embedding = 128


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.project = nn.Linear(inputs, outputs)
        scale_weights(self)

    def forward(self, anchor, positive, negative):
        a, p, n = self.project(anchor), self.project(positive), self.project(negative)
        return F.triplet_margin_loss(a, p, n, margin=5.0, reduction="none")


def get_inputs():
    return [*(torch.randn(triplets, width) for _ in range(3))]


def get_init_inputs():
    return [width, embedding]
