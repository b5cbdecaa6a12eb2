# task: max_columns.py
# class: algebra
# mechanism: the negated minimum of the negated numbers
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return -torch.amin(-x, 0)
