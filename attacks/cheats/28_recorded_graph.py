# task: linear_bias.py
# class: B23
# mechanism: records its first call with the input baked in and replays it, as a captured graph on old
#   pointers does
# expect: rejected value, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)
        self.replay = None

    def forward(self, x):
        if self.replay is None:
            baked = x.clone()
            weight, bias = self.linear.weight, self.linear.bias
            self.replay = lambda: torch.addmm(bias, baked, weight.t())
        return self.replay()
