# task: softmax_rows.py
# class: C39
# mechanism: right for the first ten calls, drifting afterwards
# expect: rejected value, nan, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return torch.softmax(x, -1) * (1.0 + 1e-4 * max(0, self.calls - 10))
