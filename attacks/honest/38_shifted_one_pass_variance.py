# task: layer_norm.py
# class: algebra
# mechanism: one pass over the row, shifted by its first element and added up in double precision
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        s = (x - x[:, :1]).double()
        mean = s.mean(-1, keepdim=True)
        variance = (s * s).mean(-1, keepdim=True) - mean * mean
        return ((s - mean) * torch.rsqrt(variance + 1e-3) * self.norm.weight + self.norm.bias).float()
