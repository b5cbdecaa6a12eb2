# task: softmax_gradient.py
# class: autograd
# mechanism: keeps the input alone and computes the result once more in the backward pass
# expect: accepted

import torch
from torch import nn


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.softmax(x, -1)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        y = torch.softmax(x, -1)
        return y * (grad - (grad * y).sum(-1, keepdim=True))


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
