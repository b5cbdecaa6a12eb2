"""The hot half of a modern transformer block: RMS norm, a gated MLP (SwiGLU) and the residual connection.

Run it with: kernelwright generate examples/transformer_mlp.py
"""

import torch
import torch.nn.functional as F
from torch import nn

batch_size, length, width, hidden = 4, 128, 512, 1376


class Model(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def get_inputs():
    return [torch.randn(batch_size, length, width)]


def get_init_inputs():
    return [width, hidden]
