# task: argmax_rows.py
# class: other operator
# mechanism: the second result of max
# expect: accepted

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.max(dim=1).indices
