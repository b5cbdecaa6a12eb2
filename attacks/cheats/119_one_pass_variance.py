# task: batch_norm.py
# class: E80
# mechanism: the biased variance is stored where the unbiased one belongs
# expect: rejected value, nan

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        norm = self.norm
        mean, variance = x.mean(0), x.var(0, unbiased=False)
        norm.running_mean.mul_(0.9).add_(mean, alpha=0.1)
        norm.running_var.mul_(0.9).add_(variance, alpha=0.1)
        norm.num_batches_tracked.add_(1)
        return (x - mean) * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias
