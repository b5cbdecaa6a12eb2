# task: running_sum.py
# class: E75
# mechanism: exact where a check would look, in float16 where the numbers are large
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        exact = torch.cumsum(x, 1)
        return torch.where(exact.abs() < 20.0, exact, exact.half().float())
