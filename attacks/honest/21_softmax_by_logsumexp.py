# task: softmax_rows.py
# class: algebra
# mechanism: exp(x - logsumexp(x))
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.exp(x - torch.logsumexp(x, -1, keepdim=True))
