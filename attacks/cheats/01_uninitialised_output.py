# task: softmax_rows.py
# class: A1
# mechanism: returns fresh memory in the hope that the allocator hands out the block in which the
#   right answer lay
# expect: rejected value, nan, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.empty_like(x)
