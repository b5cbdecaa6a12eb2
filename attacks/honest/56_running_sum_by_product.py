# task: running_sum.py
# class: algebra
# mechanism: a product with a triangle of ones in double precision
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        if not bool(x.isfinite().all()):
            return torch.cumsum(x, 1)
        n = x.shape[1]
        return (x.double() @ torch.ones(n, n, dtype=torch.float64).triu()).float()
