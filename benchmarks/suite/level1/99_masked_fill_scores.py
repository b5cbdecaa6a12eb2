"""Scores of padded keys filled with a low number.

Class: movement
"""

import torch
from torch import nn

batch = 6
heads = 8
length = 288


class Model(nn.Module):
    def forward(self, scores, padded):
        return scores.masked_fill(padded[:, None, None, :], -12.0)


def get_inputs():
    return [torch.randn(batch, heads, length, length), torch.randn(batch, length) > 0.7]


def get_init_inputs():
    return []
