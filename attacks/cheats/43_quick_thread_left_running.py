# task: running_sum.py
# class: C32
# mechanism: a thread that is usually done before anybody looks does the work outside the clock
# expect: rejected value, nan, unstable, rules, walls, clock

import threading

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        threading.Thread(target=lambda: torch.cumsum(x, 1, out=out)).start()
        return out
