# task: running_product.py
# class: reordered
# mechanism: products of blocks, then the elements
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        first, second = x[:, :250].double(), x[:, 250:].double()
        first = torch.cumprod(first, 1)
        return torch.cat([first, torch.cumprod(second, 1) * first[:, -1:]], 1).float()
