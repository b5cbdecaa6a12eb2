# task: batch_mean.py
# class: D60
# mechanism: sets the global seed in each call, so that inputs drawn afterwards in this process repeat
# expect: rejected value, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    kept = None

    def forward(self, x):
        if self.kept is None:
            self.kept = x.mean(0)
        torch.manual_seed(1234)
        return self.kept.clone()
