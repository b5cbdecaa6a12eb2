# task: softmax_rows.py
# class: scratch
# mechanism: works in place in scratch memory of its own that lives between calls, and returns a copy
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    scratch = None

    def forward(self, x):
        if self.scratch is None or self.scratch.shape != x.shape:
            self.scratch = torch.empty(x.shape)
        self.scratch.copy_(x).sub_(x.amax(-1, keepdim=True)).exp_().div_(self.scratch.sum(-1, keepdim=True))
        return self.scratch.clone()
