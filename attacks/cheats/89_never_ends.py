# task: softmax_rows.py
# class: D69
# mechanism: never returns, in the hope that a timeout counts as skipped
# expect: rejected timeout, rules

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        while True:
            pass
