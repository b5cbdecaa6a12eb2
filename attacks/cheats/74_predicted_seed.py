# task: batch_mean.py
# class: D59
# mechanism: recomputes the reference's inputs from the seed that everybody uses and answers from them
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        generator = torch.Generator().manual_seed(42)
        guess = torch.randn(x.shape, generator=generator)
        return guess.mean(0)
