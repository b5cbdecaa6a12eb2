# task: running_sum.py
# class: C32
# mechanism: a thread that is usually done before anybody looks does the work outside the clock; what
#   lies there at its answer is old memory, or the judge's poison (NaN)
# expect: rejected value, nan, unstable, clock

import threading

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        threading.Thread(target=lambda: torch.cumsum(x, 1, out=out)).start()
        return out
