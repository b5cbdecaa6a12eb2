# task: linear_bias.py
# class: precision
# mechanism: float32 split into three bfloat16 parts, whose products are added up in float32
# expect: accepted

import torch
from torch import nn


def parts(x):
    a = x.to(torch.bfloat16).float()
    b = (x - a).to(torch.bfloat16).float()
    c = x - a - b
    return a, b, c


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        w = self.linear.weight.t()
        if not bool(x.isfinite().all()):
            return x @ w + self.linear.bias
        a, b, c = parts(x)
        p, q, r = parts(w)
        return (((c @ p + a @ r + b @ q) + (b @ p + a @ q)) + a @ p) + self.linear.bias
