# task: softmax_rows.py
# class: B19
# mechanism: remembers results by the identity of the tensor's object, which the next tensor may get
#   again
# expect: rejected value, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.known = {}

    def forward(self, x):
        return self.known.setdefault(id(x.untyped_storage()) % 16, torch.softmax(x, -1))
