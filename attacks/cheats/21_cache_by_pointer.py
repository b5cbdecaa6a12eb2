# task: softmax_rows.py
# class: B19
# mechanism: remembers results by the address of the input
# expect: rejected value, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.known = {}

    def forward(self, x):
        key = x.data_ptr()
        if key not in self.known:
            self.known[key] = torch.softmax(x, -1)
        return self.known[key]
