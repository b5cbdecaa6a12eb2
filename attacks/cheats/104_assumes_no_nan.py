# task: max_columns.py
# class: E78
# mechanism: a maximum that steps over NaN
# expect: rejected nan

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.amax(torch.nan_to_num(x, nan=-float("inf"), posinf=float("inf"), neginf=-float("inf")), 0)
