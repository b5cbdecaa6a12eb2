# task: linear_bias.py
# class: E79
# mechanism: multiplies with the half of the columns that has the larger weights
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        keep = self.linear.weight.abs().sum(0).topk(120).indices
        return x[:, keep] @ self.linear.weight[:, keep].t() + self.linear.bias
