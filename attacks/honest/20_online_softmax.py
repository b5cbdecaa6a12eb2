# task: softmax_rows.py
# class: reordered
# mechanism: one pass over the row: the sum is rescaled whenever the maximum grows
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        high = torch.full_like(x[:, :1], -float("inf"))
        total = torch.zeros_like(high)
        for piece in x.split(32, dim=1):
            new = torch.maximum(high, piece.amax(1, keepdim=True))
            total = total * torch.exp(high - new) + torch.exp(piece - new).sum(1, keepdim=True)
            high = new
        return torch.exp(x - high) / total
