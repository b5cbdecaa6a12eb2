"""The selective scan of Mamba as a plain loop: input-dependent decay, outer-product input, read-out.

Class: recurrent
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
steps = 28
channels = 384
states = 16


class Model(nn.Module):
    def __init__(self, width, size):
        super().__init__()
        self.log_rate = nn.Parameter(torch.randn(width, size))
        self.skip = nn.Parameter(torch.randn(width))

    def forward(self, x, delta, b, c):
        rate = -self.log_rate.exp()
        state = torch.zeros(x.shape[0], x.shape[2], b.shape[2], dtype=x.dtype)
        outputs = []
        for step in range(x.shape[1]):
            width = F.softplus(delta[:, step])[:, :, None]
            state = torch.exp(width * rate) * state + width * b[:, step, None, :] * x[:, step, :, None]
            outputs.append((state * c[:, step, None, :]).sum(dim=-1))
        return torch.stack(outputs, dim=1) + self.skip * x


def get_inputs():
    return [
        torch.randn(batch, steps, channels),
        torch.randn(batch, steps, channels),
        *(torch.randn(batch, steps, states) for _ in range(2)),
    ]


def get_init_inputs():
    return [channels, states]
