# task: unit_relu.py
# class: algebra
# mechanism: half of x + |x|
# expect: accepted

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.where((x > 0) | x.isnan(), 0.0)
