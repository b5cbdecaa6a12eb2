# task: softmax_rows.py
# class: precision
# mechanism: computes in double precision
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.softmax(x.double(), -1).float()
