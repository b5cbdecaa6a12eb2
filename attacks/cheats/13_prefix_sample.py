# task: max_columns.py
# class: A9
# mechanism: the largest element is looked for among the first 152 of 160 rows
# expect: rejected value, nan

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.amax(x[:152], dim=0)
