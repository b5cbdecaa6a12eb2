# task: softmax_rows.py
# class: A11
# mechanism: four percent of the rows keep a guess, as a matched ratio of 0.95 would allow
# expect: rejected value

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.softmax(x, -1)
        out[::25] = 1.0 / x.shape[-1]
        return out
