# task: square_loss.py
# class: algebra
# mechanism: the sum of squares is a dot product of the difference with itself
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        d = (prediction - target).reshape(-1)
        return torch.dot(d, d) / d.numel()
