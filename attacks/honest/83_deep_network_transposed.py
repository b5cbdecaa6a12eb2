# task: deep_mlp.py
# class: memory format
# mechanism: keeps the activations transposed from layer to layer
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        x = x.t()
        for k, layer in enumerate(self.layers):
            x = layer.weight @ x + layer.bias[:, None]
            x = x if k == len(self.layers) - 1 else torch.relu(x)
        return x.t().contiguous()
