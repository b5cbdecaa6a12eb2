# task: linear_bias.py
# class: other library
# mechanism: the product by numpy's own library
# expect: accepted

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        with np.errstate(all="ignore"):
            y = x.numpy() @ self.linear.weight.detach().numpy().T + self.linear.bias.detach().numpy()
        return torch.from_numpy(np.ascontiguousarray(y))
