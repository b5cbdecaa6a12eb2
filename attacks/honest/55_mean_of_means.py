# task: square_loss.py
# class: reordered
# mechanism: the mean of the columns' means
# expect: accepted

from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).square().mean(0).mean()
