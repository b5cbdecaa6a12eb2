# task: softmax_rows.py
# class: B24
# mechanism: the first of four calls works, the next three return what it found
# expect: rejected value, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    calls = 0

    def forward(self, x):
        if self.calls % 4 == 0:
            self.kept = torch.softmax(x, -1)
        self.calls += 1
        return self.kept.clone()
