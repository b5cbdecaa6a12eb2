# task: batch_mean.py
# class: algebra
# mechanism: a product with a row of 1/n
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        n = x.shape[0]
        return (torch.full((1, n), 1.0 / n) @ x.reshape(n, -1)).view(x.shape[1:])
