"""Causal scaled dot-product attention as one torch call.

Class: attention
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 1
heads = 10
length = 640
head_size = 64


class Model(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def get_inputs():
    return [*(torch.randn(batch, heads, length, head_size) for _ in range(3))]


def get_init_inputs():
    return []
