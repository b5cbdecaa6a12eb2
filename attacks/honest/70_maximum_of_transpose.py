# task: max_columns.py
# class: memory format
# mechanism: transposes first and reduces rows
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.amax(x.t().contiguous(), 1)
