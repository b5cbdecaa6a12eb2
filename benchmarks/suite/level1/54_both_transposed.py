"""Both operands transposed, as in the Kronecker-factored preconditioners of Shampoo and SOAP.

Class: contraction
"""

import torch
from torch import nn

rows = 896
inner = 1024
columns = 640


class Model(nn.Module):
    def forward(self, a, b):
        return a.T @ b.T


def get_inputs():
    return [torch.randn(inner, rows), torch.randn(columns, inner)]


def get_init_inputs():
    return []
