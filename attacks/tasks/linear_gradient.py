"""A linear layer with the gradients in its input, its weight and its bias."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return torch.relu(self.linear(x))


def get_inputs():
    return [torch.randn(53, 131, requires_grad=True)]


def get_init_inputs():
    return [131, 67]
