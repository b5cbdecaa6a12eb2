# task: linear_bias.py
# class: C34
# mechanism: returns a transposed view, so that whoever uses the result pays for the copy
# expect: rejected shape

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return (self.linear.weight @ x.t()).t().add_(self.linear.bias)
