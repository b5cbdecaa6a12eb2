"""Next-token cross entropy per token over a vocabulary.

Class: loss
"""

import torch
import torch.nn.functional as F
from torch import nn

tokens = 224
vocabulary = 16384


class Model(nn.Module):
    def forward(self, logits, target):
        return F.cross_entropy(logits, target, reduction="none")


def get_inputs():
    return [2.0 * torch.randn(tokens, vocabulary), torch.randint(0, vocabulary, (tokens,))]


def get_init_inputs():
    return []
