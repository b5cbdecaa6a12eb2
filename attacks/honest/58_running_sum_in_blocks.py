# task: running_sum.py
# class: reordered
# mechanism: sums of blocks, then their offsets
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        blocks = x.reshape(x.shape[0], 8, -1)
        inside = torch.cumsum(blocks, 2)
        before = torch.cumsum(inside[:, :, -1], 1)
        offset = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], 1)
        return (inside + offset[:, :, None]).reshape(x.shape)
