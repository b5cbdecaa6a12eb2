# task: linear_bias.py
# class: B26
# mechanism: has parameters of the right names for whoever looks, and computes with a folded copy
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)
        self.folded = self.linear.weight.detach().t().contiguous(), self.linear.bias.detach().clone()

    def forward(self, x):
        return torch.addmm(self.folded[1], x, self.folded[0]) + 0 * self.linear.bias
