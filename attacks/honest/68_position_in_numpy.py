# task: argmax_rows.py
# class: other library
# mechanism: numpy's argmax has the same rules for ties and NaN
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.numpy().argmax(1))
