# task: wide_softmax.py
# class: A5
# mechanism: the row's sum is replaced by its expectation under the known law of the inputs
# expect: rejected value

import math

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.exp(x) / (x.shape[-1] * (math.e - 1.0))
