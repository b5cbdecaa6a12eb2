# task: layer_norm.py
# class: algebra
# mechanism: subtracts the mean by a product with the matrix I - 1/n
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)
        self.register_buffer("centre", torch.eye(width, dtype=torch.float64) - 1.0 / width, persistent=False)

    def forward(self, x):
        c = x.double() @ self.centre
        scale = torch.rsqrt((c * c).mean(-1, keepdim=True) + 1e-3)
        return (c * scale * self.norm.weight + self.norm.bias).float()
