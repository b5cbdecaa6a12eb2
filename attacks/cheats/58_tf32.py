# task: linear_bias.py
# class: C41
# mechanism: cuts ten bits of mantissa off the operands, as tensor cores in TF32 do
# expect: rejected value

import torch
from torch import nn


def cut(x):
    return (x.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return cut(x) @ cut(self.linear.weight).t() + self.linear.bias
