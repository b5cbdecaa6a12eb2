# task: linear_bias.py
# class: C40
# mechanism: takes the threads away from whoever is measured in the same process
# expect: rejected rules, walls, clock or no gain

import torch
from torch import nn

torch.set_num_threads(1)


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return self.linear(x)
