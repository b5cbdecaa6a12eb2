# task: max_columns.py
# class: B27
# mechanism: code is written for the values of the first input: the row in which each column's largest
#   element lies
# expect: rejected value, nan, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    rows = None

    def forward(self, x):
        if self.rows is None:
            self.rows = x.argmax(0)
        return x[self.rows, torch.arange(x.shape[1])]
