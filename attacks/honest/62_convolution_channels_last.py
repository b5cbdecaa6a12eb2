# task: small_conv.py
# class: memory format
# mechanism: computes in channels-last format and returns the usual one
# expect: accepted

import torch
from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1)

    def forward(self, x):
        last = torch.channels_last
        weight = self.conv.weight.contiguous(memory_format=last)
        y = functional.conv2d(x.contiguous(memory_format=last), weight, self.conv.bias, padding=1)
        return torch.relu_(y).contiguous()
