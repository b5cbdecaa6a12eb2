# task: small_conv.py
# class: other order
# mechanism: windows as columns and one matrix product
# expect: accepted

import torch
from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1)

    def forward(self, x):
        columns = functional.unfold(x, 3, padding=1)
        weight = self.conv.weight.reshape(self.conv.weight.shape[0], -1)
        y = weight @ columns + self.conv.bias[:, None]
        return torch.relu(y.view(x.shape[0], -1, *x.shape[2:]))
