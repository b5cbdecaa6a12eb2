# task: softmax_rows.py
# class: reordered
# mechanism: adds the exponentials from the smallest to the largest
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        e = torch.exp(x - x.amax(-1, keepdim=True))
        return e / e.sort(-1).values.cumsum(-1)[:, -1:]
