# task: unit_relu.py
# class: A5b
# mechanism: the task draws no negative number, so the input is returned as it is
# expect: rejected value, guard

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.clone()
