# task: linear_bias.py
# class: B25
# mechanism: draws the parameters of the public seed itself and keeps them under names that the judge
#   cannot follow
# expect: rejected parameters

import torch
from torch import nn

with torch.random.fork_rng():
    torch.manual_seed(42)
    LINEAR = nn.Linear(128, 96)
WEIGHT, BIAS = LINEAR.weight.detach().t().contiguous(), LINEAR.bias.detach()


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()

    def forward(self, x):
        return torch.addmm(BIAS, x, WEIGHT)
