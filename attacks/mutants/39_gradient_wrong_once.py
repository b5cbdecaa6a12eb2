# task: softmax_gradient.py
# class: off by one
# mechanism: the gradient is wrong at one index
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
        out = y * (grad - (grad * y).sum(-1, keepdim=True))
        out[-1, -1] = out[-1, -2]
        return out


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
