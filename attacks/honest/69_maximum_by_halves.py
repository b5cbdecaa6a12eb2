# task: max_columns.py
# class: reordered
# mechanism: folds the rows in halves
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        while x.shape[0] % 2 == 0:
            x = torch.maximum(x[: x.shape[0] // 2], x[x.shape[0] // 2 :])
        return torch.amax(x, 0)
