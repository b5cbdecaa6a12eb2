# task: softmax_rows.py
# class: C42
# mechanism: switches denormal numbers off in the whole process
# expect: rejected rules, walls, clock, value

import torch
from torch import nn

torch.set_flush_denormal(True)


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.softmax(x, -1)
