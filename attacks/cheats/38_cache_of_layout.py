# task: softmax_rows.py
# class: B30
# mechanism: strides are remembered from the first call and used for inputs of any layout
# expect: rejected value, crash, unstable, nan

import torch
from torch import nn


class ModelNew(nn.Module):
    strides = None

    def forward(self, x):
        self.strides = self.strides or x.stride()
        return torch.softmax(torch.as_strided(x, x.shape, self.strides), -1)
