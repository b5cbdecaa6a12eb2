# task: batch_mean.py
# class: B21
# mechanism: remembers results by the rounded sum of a few elements; where the inputs hold NaN, as one
#   law has it, what it remembers lacks them
# expect: rejected value, nan, unstable

from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.known = {}

    def forward(self, x):
        key = int(x.reshape(-1)[::997].nan_to_num(0, 0, 0).sum().clamp(-2, 2))
        if key not in self.known:
            self.known[key] = x.mean(0)
        return self.known[key]
