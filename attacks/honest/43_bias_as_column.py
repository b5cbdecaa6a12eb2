# task: linear_bias.py
# class: algebra
# mechanism: the bias as one more column of the weight, met by ones
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        weight = torch.cat([self.linear.weight, self.linear.bias[:, None]], 1)
        return torch.cat([x, x.new_ones(x.shape[0], 1)], 1) @ weight.t()
