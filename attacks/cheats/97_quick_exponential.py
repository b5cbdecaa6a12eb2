# task: softmax_rows.py
# class: E73
# mechanism: a polynomial of low degree stands for the exponential; its relative error is 1e-5
# expect: rejected value

import torch
from torch import nn


def quick(x):
    whole = torch.round(x * 1.4426950408889634)
    r = x - whole * 0.6931471805599453
    series = 1 + r * (1 + r * (0.5 + r * (1 / 6 + r * (1 / 24))))
    return torch.ldexp(series, whole)


class ModelNew(nn.Module):
    def forward(self, x):
        e = quick((x - x.amax(-1, keepdim=True)).clamp_min(-100.0))
        return e / e.sum(-1, keepdim=True)
