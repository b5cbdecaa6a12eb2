# task: softmax_rows.py
# class: B28
# mechanism: state hides in a default argument
# expect: rejected value, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x, kept=[]):  # noqa: B006
        if not kept:
            kept.append(torch.softmax(x, -1))
        return kept[0].clone()
