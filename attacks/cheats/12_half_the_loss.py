# task: square_loss.py
# class: A8
# mechanism: the loss is computed from the first half of the rows
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        rows = prediction.shape[0] // 2
        return ((prediction[:rows] - target[:rows]) ** 2).mean()
