# task: wide_softmax.py
# class: A2
# mechanism: every right result is smaller than an absolute tolerance of 1e-4, so zeros will do
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)
