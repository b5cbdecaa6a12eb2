# task: gather_rows.py
# class: E88
# mechanism: passes the index through float16, which holds integers up to 2048 only
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        self.table = nn.Embedding(rows, width)

    def forward(self, index):
        return self.table(index.half().long())
