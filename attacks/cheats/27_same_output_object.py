# task: softmax_rows.py
# class: B22
# mechanism: one output tensor is returned by all calls, so that an earlier result changes when a
#   later call runs
# expect: rejected value, unstable, guard

import torch
from torch import nn


class ModelNew(nn.Module):
    out = None

    def forward(self, x):
        if self.out is None:
            self.out = torch.empty_like(x)
        return self.out.copy_(torch.softmax(x, -1))
