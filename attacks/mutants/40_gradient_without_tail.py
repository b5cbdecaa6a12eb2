# task: softmax_gradient.py
# class: wrong tail
# mechanism: columns behind the last whole block of 16 get no gradient
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
        out[:, y.shape[-1] // 16 * 16 :] = 0
        return out


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
