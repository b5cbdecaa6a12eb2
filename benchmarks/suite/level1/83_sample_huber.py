"""Huber loss of every sample: both branches are met.

Class: loss
"""

import torch
import torch.nn.functional as F
from torch import nn

samples = 3072
width = 1024


class Model(nn.Module):
    def forward(self, prediction, target):
        return F.huber_loss(prediction, target, reduction="none", delta=0.7).mean(dim=1)


def get_inputs():
    return [2.0 * torch.randn(samples, width), torch.rand(samples, 1) * torch.randn(samples, width)]


def get_init_inputs():
    return []
