# task: running_product.py
# class: A6
# mechanism: the product of 48 numbers below one is under the tolerance, so the rest of each row is
#   zero
#   (which overflows where the inputs are large: infinity is missing, too)
# expect: rejected value, nan

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.zeros_like(x)
        out[:, :48] = torch.cumprod(x[:, :48], dim=1)
        return out
