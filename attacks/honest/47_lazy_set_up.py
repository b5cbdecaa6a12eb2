# task: linear_bias.py
# class: lazy
# mechanism: makes its index tables at the first call
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    order = None

    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        if self.order is None:
            self.order = torch.arange(x.shape[1] - 1, -1, -1)
        return x[:, self.order] @ self.linear.weight[:, self.order].t() + self.linear.bias
