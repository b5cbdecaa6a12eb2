# task: branches.py
# class: algebra
# mechanism: each branch only where it is taken
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        x = x.contiguous()
        out = 0.1 * x - 0.8
        middle = x > -2.0
        out[middle] = x[middle] / 2
        high = x > 0
        out[high] = torch.log1p(x[high])
        return out
