# task: linear_bias.py
# class: algebra
# mechanism: a convolution with windows of one pixel
# expect: accepted

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        y = functional.conv1d(x.t().unsqueeze(0), self.linear.weight.unsqueeze(-1), self.linear.bias)
        return y.squeeze(0).t().contiguous()
