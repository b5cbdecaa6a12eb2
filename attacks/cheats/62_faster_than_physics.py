# task: wide_softmax.py
# class: C51
# mechanism: answers from a weak table of results without reading the input at all
# expect: rejected value, clock, unstable

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.answers = {}

    def forward(self, x):
        if x.data_ptr() not in self.answers:
            self.answers[x.data_ptr()] = torch.softmax(x, -1)
        return self.answers[x.data_ptr()]
