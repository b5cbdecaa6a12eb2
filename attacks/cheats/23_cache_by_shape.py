# task: linear_bias.py
# class: B20
# mechanism: remembers results by the shape of the input
# expect: rejected value, unstable

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)
        self.known = {}

    def forward(self, x):
        if x.shape not in self.known:
            self.known[x.shape] = self.linear(x)
        return self.known[x.shape]
