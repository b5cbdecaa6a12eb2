"""The joint causal, padding and segment mask of packed sequences: int64 and bool in, bool out.

Class: movement
"""

import torch
from torch import nn

batch = 12
length = 640


class Model(nn.Module):
    def forward(self, segment, valid):
        position = torch.arange(segment.shape[1])
        causal = position[:, None] >= position[None, :]
        same = segment[:, :, None] == segment[:, None, :]
        return causal & same & valid[:, None, :]


def get_inputs():
    return [torch.randint(0, 3, (batch, length)), torch.randn(batch, length) > -1.0]


def get_init_inputs():
    return []
