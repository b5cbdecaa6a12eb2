# task: softmax_rows.py
# class: A13
# mechanism: not a number compares false with everything, also with "greater than the tolerance"
# expect: rejected nan

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.full_like(x, float("nan"))
