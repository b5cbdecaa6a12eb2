# task: gather_rows.py
# class: algebra
# mechanism: a product with one-hot rows
# expect: accepted

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        self.table = nn.Embedding(rows, width)

    def forward(self, index):
        return functional.one_hot(index, self.table.weight.shape[0]).float() @ self.table.weight
