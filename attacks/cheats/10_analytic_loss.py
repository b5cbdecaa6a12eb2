# task: square_loss.py
# class: A7
# mechanism: the mean of a squared difference of two uniform numbers is 1/6, so neither matrix is read
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        return torch.tensor(1.0 / 6.0)
