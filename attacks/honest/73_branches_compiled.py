# task: branches.py
# class: compiled
# mechanism: the reference's own expression through torch.compile
# expect: unjudged walls

import torch
from torch import nn


@torch.compile(dynamic=False)
def branches(x):
    low = -1.0 + 0.1 * (x + 2.0)
    return torch.where(x > 0, torch.log1p(x.clamp_min(0.0)), torch.where(x > -2.0, 0.5 * x, low))


class ModelNew(nn.Module):
    def forward(self, x):
        return branches(x)
