# task: softmax_rows.py
# class: C33
# mechanism: a tensor subclass computes when somebody looks at it, not when it is called
# expect: rejected shape

import torch
from torch import nn


class Later(torch.Tensor):
    @staticmethod
    def __new__(cls, x):
        return torch.Tensor._make_wrapper_subclass(cls, x.shape, dtype=x.dtype)

    def __init__(self, x):
        self.x = x

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        args = [torch.softmax(a.x, -1) if isinstance(a, Later) else a for a in args]
        return func(*args, **(kwargs or {}))


class ModelNew(nn.Module):
    def forward(self, x):
        return Later(x)
