# task: gather_rows.py
# class: other order
# mechanism: visits the table in the order of its rows and puts the results back
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        self.table = nn.Embedding(rows, width)

    def forward(self, index):
        order = index.argsort()
        out = torch.empty(index.numel(), self.table.weight.shape[1])
        out[order] = self.table.weight[index[order]]
        return out
