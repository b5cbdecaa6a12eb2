# task: softmax_rows.py
# class: D69
# mechanism: returns an empty tensor: all of its zero elements agree
# expect: rejected shape

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.new_empty(0, x.shape[1])
