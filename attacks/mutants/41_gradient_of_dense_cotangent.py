# task: softmax_gradient.py
# class: wrong stride
# mechanism: takes the cotangent to be row-major, which of many operations it is not
# expect: rejected value, nan, crash

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
        grad = grad.as_strided(y.shape, y.stride())
        return y * (grad - (grad * y).sum(-1, keepdim=True))


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
