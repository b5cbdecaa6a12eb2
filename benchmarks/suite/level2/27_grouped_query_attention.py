"""Grouped-query attention: four query heads share every key and value head.

Class: attention
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 2
heads = 12
groups = 3
length = 352
head_size = 64


class Model(nn.Module):
    def forward(self, q, k, v):
        share = q.shape[1] // k.shape[1]
        k = k.repeat_interleave(share, dim=1)
        v = v.repeat_interleave(share, dim=1)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def get_inputs():
    return [
        torch.randn(batch, heads, length, head_size),
        *(torch.randn(batch, groups, length, head_size) for _ in range(2)),
    ]


def get_init_inputs():
    return []
