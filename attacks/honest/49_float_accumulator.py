# task: half_linear.py
# class: precision
# mechanism: widens to float32, multiplies and adds there, and rounds once
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer).to(torch.bfloat16)

    def forward(self, x):
        return (x.float() @ self.linear.weight.float().t() + self.linear.bias.float()).to(torch.bfloat16)
