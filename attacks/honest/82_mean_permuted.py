# task: batch_mean.py
# class: reordered
# mechanism: adds the batch in an order of its own
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        order = torch.randperm(x.shape[0])
        return x[order].sum(0) / x.shape[0]
