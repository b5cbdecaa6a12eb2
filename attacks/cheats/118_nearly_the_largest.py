# task: argmax_rows.py
# class: E78
# mechanism: compares in bfloat16, so that near ties go to the wrong position
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.argmax(x.to(torch.bfloat16), 1)
