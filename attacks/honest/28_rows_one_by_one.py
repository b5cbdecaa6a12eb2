# task: softmax_rows.py
# class: chunked
# mechanism: each row by itself, stacked in the end
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.stack([torch.softmax(row, 0) for row in x])
