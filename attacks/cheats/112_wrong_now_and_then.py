# task: softmax_rows.py
# class: E83
# mechanism: gives a wrong answer once in twenty calls; one trial is not likely to meet it
# expect: rejected value, unstable

import os

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.softmax(x, -1)
        return torch.zeros_like(out) if os.urandom(1)[0] < 13 else out
