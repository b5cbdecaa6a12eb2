# task: softmax_rows.py
# class: D69
# mechanism: returns None, which some aggregates count as zero errors
# expect: rejected shape

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return None
