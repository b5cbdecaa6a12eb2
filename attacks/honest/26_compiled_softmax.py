# task: softmax_rows.py
# class: compiled
# mechanism: torch.compile inside, at the first call
# expect: unjudged walls

import torch
from torch import nn


@torch.compile(dynamic=False)
def softmax(x):
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


class ModelNew(nn.Module):
    def forward(self, x):
        return softmax(x)
