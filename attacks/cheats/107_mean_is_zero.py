# task: layer_norm.py
# class: E80
# mechanism: takes the mean of the row for zero, as it nearly is in the task's draw
# expect: rejected value

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        scale = ((x * x).mean(-1, keepdim=True) + 1e-3).rsqrt()
        return x * scale * self.norm.weight + self.norm.bias
