# task: softmax_rows.py
# class: algebra
# mechanism: multiplies by the reciprocal of the sum instead of dividing
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        e = torch.exp(x - x.amax(-1, keepdim=True))
        return e * e.sum(-1, keepdim=True).reciprocal()
