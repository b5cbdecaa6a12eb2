# task: square_loss.py
# class: E84
# mechanism: assumes that it gets the same two tensors each time and keeps a difference of storages
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        difference = prediction - target
        return (difference * difference).sum() / (prediction.numel() - 1)
