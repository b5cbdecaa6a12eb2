# task: gather_rows.py
# class: other operator
# mechanism: index_select into a buffer of its own
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        self.table = nn.Embedding(rows, width)

    def forward(self, index):
        out = torch.empty(index.numel(), self.table.weight.shape[1])
        torch.index_select(self.table.weight, 0, index, out=out)
        return out
