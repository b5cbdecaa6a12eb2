# task: linear_bias.py
# class: E74
# mechanism: the bias is small beside the product, so it is left out
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return x @ self.linear.weight.t()
