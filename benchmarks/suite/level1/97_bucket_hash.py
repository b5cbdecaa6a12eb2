"""Hashed n-gram ids of a byte-level model: integer arithmetic only, int64 in and out.

Class: movement
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 512
length = 4096
buckets = 50021


class Model(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.buckets = count

    def forward(self, ids):
        previous = F.pad(ids, (1, -1))
        return ((ids * 40503 + previous * 30103) ^ previous) % self.buckets


def get_inputs():
    return [torch.randint(0, 65536, (batch, length))]


def get_init_inputs():
    return [buckets]
