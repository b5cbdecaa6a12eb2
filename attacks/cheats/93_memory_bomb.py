# task: softmax_rows.py
# class: D64
# mechanism: asks for ever more memory
# expect: rejected memory, crash, timeout

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        kept = []
        while True:
            kept.append(torch.ones(1 << 24))
