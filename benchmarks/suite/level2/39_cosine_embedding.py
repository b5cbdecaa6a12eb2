"""Cosine embedding loss of sentence pairs labelled alike or not.

Class: loss
"""

import torch
import torch.nn.functional as F
from torch import nn

pairs = 6144
width = 384


class Model(nn.Module):
    def forward(self, left, right, label):
        return F.cosine_embedding_loss(left, right, label, margin=-0.5, reduction="none")


def get_inputs():
    left, right = torch.randn(pairs, width), torch.randn(pairs, width)
    label = 2 * torch.randint(0, 2, (pairs,)) - 1
    return [left, right, label]


def get_init_inputs():
    return []
