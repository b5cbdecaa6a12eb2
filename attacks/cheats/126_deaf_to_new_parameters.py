# task: linear_bias.py
# class: B26
# mechanism: declares that it takes over the reference's parameters, and keeps those it was made with
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        linear = nn.Linear(inner, outer)
        self.packed = linear.weight.detach().t().contiguous()
        self.bias = linear.bias.detach()

    def load_state_dict(self, state, strict=True, assign=False):
        pass

    def forward(self, x):
        return torch.addmm(self.bias, x, self.packed)
