# task: deep_mlp.py
# class: A5d
# mechanism: one row computed in the constructor from the public weights and any input stands for all
#   of them
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        with torch.no_grad():
            x = torch.full((1, width), 0.5)
            for layer in self.layers[:-1]:
                x = torch.relu(layer(x))
            self.answer = self.layers[-1](x)

    def forward(self, x):
        return self.answer.expand(x.shape[0], -1).contiguous()
