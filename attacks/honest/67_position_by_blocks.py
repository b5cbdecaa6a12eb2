# task: argmax_rows.py
# class: reordered
# mechanism: the best of eleven blocks of seven, then the best among those
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        blocks = x.reshape(x.shape[0], 11, 7)
        best, where = blocks.max(2)
        block = best.argmax(1)
        return block * 7 + torch.gather(where, 1, block[:, None])[:, 0]
