# task: square_loss.py
# class: reordered
# mechanism: the sum is folded in halves
# expect: accepted

from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        d = ((prediction - target) ** 2).reshape(-1)
        while d.numel() > 1:
            half = d.numel() // 2
            d = d[:half] + d[half:]
        return d[0] / prediction.numel()
