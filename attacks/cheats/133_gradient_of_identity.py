# task: softmax_gradient.py
# class: E85
# mechanism: the forward pass is right, and the backward pass hands on what it gets
# expect: rejected value

import torch
from torch import nn


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.softmax(x, -1)

    @staticmethod
    def backward(ctx, grad):
        return grad.clone()


class ModelNew(nn.Module):
    def forward(self, x):
        return Softmax.apply(x)
