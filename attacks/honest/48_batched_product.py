# task: linear_bias.py
# class: other library
# mechanism: a batched product with a batch of one
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return torch.baddbmm(self.linear.bias.expand(1, x.shape[0], -1), x[None], self.linear.weight.t()[None])[0]
