# task: softmax_gradient.py
# class: E85
# mechanism: the gradient of the first backward pass, remembered by its shape
# expect: rejected value, unstable

import torch
from torch import nn

known = {}


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.softmax(x, -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        if grad.shape not in known:
            known[grad.shape] = y * (grad - (grad * y).sum(-1, keepdim=True))
        return known[grad.shape].clone()


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
