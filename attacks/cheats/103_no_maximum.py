# task: softmax_rows.py
# class: E77
# mechanism: softmax without subtracting the maximum: right for the numbers that the task draws
# expect: rejected nan, value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        e = torch.exp(x)
        return e / e.sum(-1, keepdim=True)
