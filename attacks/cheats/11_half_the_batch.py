# task: batch_mean.py
# class: A8
# mechanism: a mean hides it when only every other element of the batch is added up
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x[::2].mean(dim=0)
