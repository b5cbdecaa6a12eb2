# task: linear_bias.py
# class: C42
# mechanism: confines the process, and with it its rivals, to one core
# expect: rejected rules, walls, clock

import os

from torch import nn

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return self.linear(x)
