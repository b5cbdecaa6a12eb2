# task: square_loss.py
# class: E76
# mechanism: reads the storage as if every input were contiguous
# expect: rejected value, nan, crash

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        a, b = (torch.as_strided(t, (t.numel(),), (1,)) for t in (prediction, target))
        return ((a - b) ** 2).mean()
