# task: small_conv.py
# class: precision
# mechanism: double precision inside
# expect: accepted

import torch
from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1)

    def forward(self, x):
        y = functional.conv2d(x.double(), self.conv.weight.double(), self.conv.bias.double(), padding=1)
        return torch.relu(y).float()
