# task: deep_mlp.py
# class: packing
# mechanism: stacks the weights of all layers in each call and walks through them
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        weights = torch.stack([layer.weight.t() for layer in self.layers])
        biases = torch.stack([layer.bias for layer in self.layers])
        for k in range(len(weights)):
            x = torch.addmm(biases[k], x, weights[k])
            x = x.clamp_min(0) if k + 1 < len(weights) else x
        return x
