"""A strided 1-D convolution of a speech encoder (wav2vec 2.0's second layer).

Class: convolution
"""

import torch
from torch import nn

batch = 2
channels = 224
samples = 3200


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, stride=2, bias=False)
        fan_in = self.conv.weight[0].numel()
        nn.init.normal_(self.conv.weight, std=fan_in**-0.5)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(batch, channels, samples)]


def get_init_inputs():
    return [channels]
