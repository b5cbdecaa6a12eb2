# task: linear_bias.py
# class: A13
# mechanism: one row of NaN among right ones is hidden by nanmean and by maxima that ignore it
# expect: rejected nan

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        out = self.linear(x)
        out[17] = float("nan")
        return out
