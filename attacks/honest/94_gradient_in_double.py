# task: softmax_gradient.py
# class: wide accumulation
# mechanism: the backward pass computes in float64
# expect: accepted

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
        wide, g = y.double(), grad.double()
        return (wide * (g - (g * wide).sum(-1, keepdim=True))).float()


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
