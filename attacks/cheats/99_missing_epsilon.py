# task: layer_norm.py
# class: E74
# mechanism: the epsilon is small beside the variance, so it is left out
# expect: rejected value, nan

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred * centred).mean(-1, keepdim=True).clamp_min(1e-12)
        return centred / variance.sqrt() * self.norm.weight + self.norm.bias
