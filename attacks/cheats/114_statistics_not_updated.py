# task: batch_norm.py
# class: E86
# mechanism: normalises rightly and leaves the running statistics as they were
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        return torch.batch_norm(x, self.norm.weight, self.norm.bias, None, None, True, 0.0, self.norm.eps, False)
