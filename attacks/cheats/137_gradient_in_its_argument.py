# task: softmax_gradient.py
# class: E85
# mechanism: computes the gradient in the memory of the cotangent, which is not its own
# expect: rejected input-mutated, unstable, value

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
        grad.sub_((grad * y).sum(-1, keepdim=True)).mul_(y)
        return grad


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
