# task: softmax_rows.py
# class: compiled
# mechanism: TorchScript inside
# expect: accepted

import torch
from torch import nn


@torch.jit.script
def softmax(x: torch.Tensor):
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


class ModelNew(nn.Module):
    def forward(self, x):
        return softmax(x)
