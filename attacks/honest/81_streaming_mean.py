# task: batch_mean.py
# class: reordered
# mechanism: the mean is moved towards each new element by one n-th of the difference, in double
#   precision
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        mean = x[0].double()
        for n, row in enumerate(x[1:].double(), 2):
            mean = torch.where(row.isfinite() & mean.isfinite(), mean + (row - mean) / n, mean + row)
        return mean.float()
