"""Mean over the batch."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return x.mean(dim=0)


def get_inputs():
    return [torch.randn(64, 40, 10)]


def get_init_inputs():
    return []
