# task: softmax_gradient.py
# class: missing term
# mechanism: the diagonal of the derivative alone
# expect: rejected value

import torch
from torch import nn


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.softmax(x, -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (1 - y) * grad


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
