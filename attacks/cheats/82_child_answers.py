# task: softmax_rows.py
# class: D64
# mechanism: forks, and lets the child answer in the parent's place
# expect: rejected value, walls, crash, rules, timeout

import os

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        if os.fork():
            os._exit(0)
        return torch.zeros_like(x)
