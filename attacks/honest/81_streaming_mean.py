# task: batch_mean.py
# class: reordered
# mechanism: the mean is moved towards each new element by one n-th of the difference, in double
#   precision
# expect: accepted

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        mean = x[0].double()
        for n, row in enumerate(x[1:].double(), 2):
            mean = mean + (row - mean) / n if bool(row.isfinite().all() & mean.isfinite().all()) else mean + row
        return mean.float()
