# task: square_loss.py
# class: compensated
# mechanism: Kahan's compensated sum over rows
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        rows = ((prediction - target) ** 2).sum(1)
        total, lost = rows.new_zeros(()), rows.new_zeros(())
        for row in rows:
            y = row - lost
            t = total + y
            lost = torch.where(t.isfinite(), (t - total) - y, torch.zeros_like(t))
            total = t
        return total / prediction.numel()
