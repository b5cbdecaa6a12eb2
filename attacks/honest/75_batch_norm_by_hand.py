# task: batch_norm.py
# class: state
# mechanism: statistics, their running averages and the normalisation by hand
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        norm = self.norm
        variance, mean = torch.var_mean(x, 0, unbiased=False)
        count = x.shape[0]
        norm.running_mean.lerp_(mean, 0.1)
        norm.running_var.lerp_(variance * (count / (count - 1)), 0.1)
        norm.num_batches_tracked.add_(1)
        return (x - mean) * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias
