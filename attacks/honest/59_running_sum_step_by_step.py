# task: running_sum.py
# class: other order
# mechanism: one column after the other into a buffer of its own
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out, total = torch.empty(x.shape), torch.zeros(x.shape[0])
        for k in range(x.shape[1]):
            total = total + x[:, k]
            out[:, k] = total
        return out
