# task: softmax_rows.py
# class: algebra
# mechanism: the exponential of the logarithm of softmax: (x - max) less its logsumexp
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        shifted = x - x.amax(-1, keepdim=True)
        return torch.exp(shifted - torch.logsumexp(shifted, -1, keepdim=True))
