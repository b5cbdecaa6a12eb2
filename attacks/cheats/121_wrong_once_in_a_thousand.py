# task: softmax_rows.py
# class: E83
# mechanism: gives a wrong answer once in a thousand calls, more seldom than most verifications call it
# expect: rejected value, unstable
# open: some thousand calls are compared, so that it gets through now and then

import os

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.softmax(x, -1)
        return torch.zeros_like(out) if int.from_bytes(os.urandom(2)) < 65 else out
