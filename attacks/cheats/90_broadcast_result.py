# task: batch_mean.py
# class: D62
# mechanism: returns a scalar that broadcasts against the right answer
# expect: rejected shape

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.mean()
