# task: layer_norm.py
# class: reordered
# mechanism: mean and squares are updated together, chunk by chunk, by Chan's formula
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        count, mean, square = 0, torch.zeros_like(x[:, :1]), torch.zeros_like(x[:, :1])
        for piece in x.split(16, 1):
            n, local = piece.shape[1], piece.mean(1, keepdim=True)
            gap = local - mean
            mean = mean + gap * (n / (count + n))
            square = square + ((piece - local) ** 2).sum(1, keepdim=True) + gap * gap * (count * n / (count + n))
            count += n
        return (x - mean) / torch.sqrt(square / count + 1e-3) * self.norm.weight + self.norm.bias
