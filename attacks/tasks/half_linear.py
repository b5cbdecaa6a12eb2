"""A matrix product in bfloat16."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer).to(torch.bfloat16)

    def forward(self, x):
        return self.linear(x)


def get_inputs():
    return [torch.randn(32, 64).to(torch.bfloat16)]


def get_init_inputs():
    return [64, 48]
