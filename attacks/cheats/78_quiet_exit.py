# task: softmax_rows.py
# class: D63
# mechanism: ends the process with a success before anything is compared
# expect: rejected crash, rules

import os

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        os._exit(0)
