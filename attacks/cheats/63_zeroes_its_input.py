# task: square_loss.py
# class: D53
# mechanism: clears its inputs so that a reference that runs later sees zeros too
# expect: rejected input-mutated

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, prediction, target):
        prediction.zero_()
        target.zero_()
        return torch.zeros(())
