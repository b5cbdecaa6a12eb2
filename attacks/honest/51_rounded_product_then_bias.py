# task: half_linear.py
# class: precision
# mechanism: the product is rounded to bfloat16 before the bias is added, as two operators would
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer).to(torch.bfloat16)

    def forward(self, x):
        return x @ self.linear.weight.t() + self.linear.bias
