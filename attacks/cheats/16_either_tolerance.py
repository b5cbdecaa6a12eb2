# task: branches.py
# class: A12
# mechanism: small results are off by much of their size and large ones by much in absolute terms,
#   never both
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        high = torch.log1p(x.clamp_min(0.0))
        right = torch.where(x > 0, high, torch.where(x > -2.0, 0.5 * x, -1.0 + 0.1 * (x + 2.0)))
        return torch.where(right.abs() < 1e-4, torch.zeros_like(right), right * (1.0 + 9e-5))
