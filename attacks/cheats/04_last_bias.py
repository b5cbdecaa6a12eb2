# task: deep_mlp.py
# class: A4
# mechanism: the signal dies on its way through an untrained network, so the last layer's bias passes
#   for its result
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        return self.layers[-1].bias.expand(x.shape[0], -1).contiguous()
