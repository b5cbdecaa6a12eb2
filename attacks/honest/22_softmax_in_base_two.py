# task: softmax_rows.py
# class: algebra
# mechanism: powers of two instead of e, as kernels for graphics processors do
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        shifted = (x - x.amax(-1, keepdim=True)) * 1.4426950408889634
        e = torch.exp2(shifted)
        return e / e.sum(-1, keepdim=True)
