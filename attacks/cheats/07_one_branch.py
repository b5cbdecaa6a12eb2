# task: branches.py
# class: A5b
# mechanism: only the branch that the task's own inputs take exists, and that one is not defined (NaN)
#   for most others
# expect: rejected value, nan

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.log1p(x)
