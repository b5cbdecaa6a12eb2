# task: softmax_rows.py
# class: B28
# mechanism: state hides in a generator that yields its first answer for ever
# expect: rejected value, unstable, crash

import torch
from torch import nn


def answers():
    x = yield
    answer = torch.softmax(x, -1)
    while True:
        yield answer.clone()


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.answers = answers()
        next(self.answers)

    def forward(self, x):
        return self.answers.send(x)
