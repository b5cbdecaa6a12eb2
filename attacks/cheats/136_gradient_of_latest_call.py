# task: softmax_gradient.py
# class: E85
# mechanism: keeps what the backward pass needs in one place for all calls: with two in flight it is the other's
# expect: rejected value, unstable

import torch
from torch import nn

latest = {}


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.softmax(x, -1)
        latest["y"] = y
        return y

    @staticmethod
    def backward(ctx, grad):
        y = latest["y"]
        return y * (grad - (grad * y).sum(-1, keepdim=True))


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
