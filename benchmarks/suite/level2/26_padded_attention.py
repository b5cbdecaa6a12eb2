"""Scaled dot-product attention with a padding mask per sequence.

Class: attention
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 3
heads = 6
length = 320
head_size = 64


class Model(nn.Module):
    def forward(self, q, k, v, valid):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None, :])


def get_inputs():
    q, k, v = (torch.randn(batch, heads, length, head_size) for _ in range(3))
    valid = torch.arange(length) < torch.randint(length // 2, length, (batch, 1))
    return [q, k, v, valid]


def get_init_inputs():
    return []
