# task: linear_bias.py
# class: reordered
# mechanism: the inner sum in four parts that are added pairwise
# expect: accepted

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        pairs = zip(x.split(32, 1), self.linear.weight.split(32, 1), strict=True)
        a, b, c, d = (left @ right.t() for left, right in pairs)
        return ((a + b) + (c + d)) + self.linear.bias
