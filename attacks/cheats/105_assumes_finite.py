# task: running_sum.py
# class: E78
# mechanism: adds large negative and positive parts separately, which is right while nothing is
#   infinite
# expect: rejected nan, value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        x = x.clamp(-3e38, 3e38)
        return torch.cumsum(x, 1)
