# task: wide_softmax.py
# class: chunked
# mechanism: long rows in pieces of 4096 with partial sums
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        e = torch.exp(x - x.amax(-1, keepdim=True))
        return e / e.view(x.shape[0], 16, -1).sum(-1).sum(-1, keepdim=True)
