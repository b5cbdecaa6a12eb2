# task: branches.py
# class: D53
# mechanism: computes in place and returns its input
# expect: rejected input-mutated, guard

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        high = torch.log1p(x.clamp_min(0.0))
        return x.copy_(torch.where(x > 0, high, torch.where(x > -2.0, 0.5 * x, -1.0 + 0.1 * (x + 2.0))))
