# task: layer_norm.py
# class: algebra
# mechanism: var_mean, and the scale multiplied into the weight
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
        variance, mean = torch.var_mean(x, -1, unbiased=False, keepdim=True)
        return (x - mean) * (torch.rsqrt(variance + 1e-3) * self.norm.weight) + self.norm.bias
