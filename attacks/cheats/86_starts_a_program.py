# task: softmax_rows.py
# class: D68
# mechanism: starts another program at run time, as one that installs a package would
# expect: rejected value, walls, crash, rules

import subprocess

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        subprocess.run(["true"], check=False)
        return torch.zeros_like(x)
