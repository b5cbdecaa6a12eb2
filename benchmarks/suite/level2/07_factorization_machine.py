"""Second-order interactions of a factorization machine: two products, squared, subtracted, summed.

Class: epilogue
"""

import torch
from torch import nn

samples = 4096
features = 640
factors = 48


class Model(nn.Module):
    def __init__(self, inputs, rank):
        super().__init__()
        self.factors = nn.Parameter(torch.randn(inputs, rank) * inputs**-0.5)

    def forward(self, x):
        together = torch.square(x @ self.factors)
        alone = torch.square(x) @ torch.square(self.factors)
        return 0.5 * (together - alone).sum(dim=1)


def get_inputs():
    return [torch.randn(samples, features)]


def get_init_inputs():
    return [features, factors]
