# task: running_sum.py
# class: B21
# mechanism: remembers results by the exact first and last element, which only fresh values at other
#   places would show
# expect: rejected value, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.known = {}

    def forward(self, x):
        key = (float(x[0, 0]), float(x[-1, -1]))
        if key not in self.known:
            self.known[key] = torch.cumsum(x, 1)
        return self.known[key]
