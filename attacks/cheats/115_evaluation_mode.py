# task: batch_norm.py
# class: E86
# mechanism: normalises with the running statistics, which cost no pass over the data
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        return (x - self.norm.running_mean) * (self.norm.running_var + self.norm.eps).rsqrt()
