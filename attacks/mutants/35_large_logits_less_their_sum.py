# task: softmax_rows.py
# class: rounding
# mechanism: exp(x - logsumexp(x)) without the shift: numbers of a thousand are rounded before they cancel,
#   and infinity gives zeros where softmax has NaN
# expect: rejected value, nan

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.exp(x - torch.logsumexp(x, -1, keepdim=True))
