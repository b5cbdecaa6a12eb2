# task: running_sum.py
# class: reordered
# mechanism: adds neighbours at distances 1, 2, 4 and so on, as parallel machines do
# expect: accepted

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def forward(self, x):
        step = 1
        while step < x.shape[1]:
            x = x + functional.pad(x, (step, 0))[:, : x.shape[1]]
            step *= 2
        return x
