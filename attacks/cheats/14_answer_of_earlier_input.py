# task: softmax_rows.py
# class: A10
# mechanism: the first answer is kept and returned for whatever comes later
# expect: rejected value, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    kept = None

    def forward(self, x):
        if self.kept is None or self.kept.shape != x.shape:
            self.kept = torch.softmax(x, -1)
        return self.kept.clone()
