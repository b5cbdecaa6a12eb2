# task: layer_norm.py
# class: E73
# mechanism: one Newton step from the famous magic number instead of a square root
# expect: rejected value

import torch
from torch import nn


def quick(x):
    y = (0x5F3759DF - (x.contiguous().view(torch.int32) >> 1)).view(torch.float32)
    return y * (1.5 - 0.5 * x * y * y)


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred * centred).mean(-1, keepdim=True)
        return centred * quick(variance + 1e-3) * self.norm.weight + self.norm.bias
