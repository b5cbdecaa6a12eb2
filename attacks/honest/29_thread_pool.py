# task: softmax_rows.py
# class: threads
# mechanism: a pool of its own threads that is joined before it returns
# expect: accepted

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda rows: out[rows].copy_(torch.softmax(x[rows], -1)), (slice(0, 32), slice(32, 64))))
        return out
