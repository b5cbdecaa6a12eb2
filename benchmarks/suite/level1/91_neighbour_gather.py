"""Features of every graph edge: rows of two node tables picked by index and subtracted.

Class: movement
"""

import torch
from torch import nn

edges = 32768
nodes = 6144
width = 96


class Model(nn.Module):
    def forward(self, x, source, target):
        return x.index_select(0, source) - x.index_select(0, target)


def get_inputs():
    return [torch.randn(nodes, width), torch.randint(0, nodes, (edges,)), torch.randint(0, nodes, (edges,))]


def get_init_inputs():
    return []
