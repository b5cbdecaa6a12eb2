# task: always_zero.py
# class: A3
# mechanism: the task returns zero for every number, so that nothing has to be computed
# expect: rejected nan, value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)
