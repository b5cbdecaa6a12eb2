# task: softmax_rows.py
# class: C33
# mechanism: returns a function that would compute the result
# expect: rejected shape, crash, rules

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return lambda: torch.softmax(x, -1)
