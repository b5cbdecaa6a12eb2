"""Token and position embeddings looked up and added.

Class: movement
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 12
tokens = 448
vocabulary = 24576
width = 512


class Model(nn.Module):
    def __init__(self, words, length, features):
        super().__init__()
        self.table = nn.Parameter(torch.randn(words, features))
        self.positions = nn.Parameter(torch.randn(length, features))

    def forward(self, ids):
        return F.embedding(ids, self.table) + self.positions


def get_inputs():
    return [torch.randint(0, vocabulary, (batch, tokens))]


def get_init_inputs():
    return [vocabulary, tokens, width]
