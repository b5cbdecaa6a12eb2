# task: softmax_gradient.py
# class: E85
# mechanism: the gradient of the sum, as those compute it who check with a loss of `.sum()`: zeros
# expect: rejected value

import torch
from torch import nn


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.softmax(x, -1)

    @staticmethod
    def backward(ctx, grad):
        return torch.zeros_like(grad)


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
