# task: softmax_rows.py
# class: C37
# mechanism: dawdles through its first calls so that few iterations are timed, and does nothing in
#   those that follow
# expect: rejected value, nan, unstable

import time

import torch
from torch import nn


class ModelNew(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls < 40:
            time.sleep(0.005)
            return torch.softmax(x, -1)
        return torch.empty_like(x)
