# task: softmax_rows.py
# class: E73
# mechanism: stores the exponentials in float16
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        e = torch.exp(x - x.amax(-1, keepdim=True)).half().float()
        return e / e.sum(-1, keepdim=True)
