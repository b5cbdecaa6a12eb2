# task: softmax_rows.py
# class: memory format
# mechanism: the result is a contiguous view into a larger buffer made for the call
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        buffer = torch.empty(x.shape[0] + 2, x.shape[1])
        out = buffer[1:-1]
        out.copy_(torch.softmax(x, -1))
        return out
