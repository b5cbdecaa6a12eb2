# task: linear_bias.py
# class: B26
# mechanism: weights are transposed and kept at the first call, and never looked at again
# expect: rejected value, unstable

import torch
from torch import nn

PACKED = {}


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        if not PACKED:
            PACKED["weight"] = self.linear.weight.detach().t().clone()
            PACKED["bias"] = self.linear.bias.detach().clone()
        return torch.addmm(PACKED["bias"], x, PACKED["weight"])
