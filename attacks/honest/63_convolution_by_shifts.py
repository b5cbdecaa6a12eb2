# task: small_conv.py
# class: other order
# mechanism: nine shifted products instead of a convolution
# expect: accepted

import torch
from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1)

    def forward(self, x):
        padded = functional.pad(x, (1, 1, 1, 1))
        y = self.conv.bias[None, :, None, None]
        for p in range(3):
            for q in range(3):
                piece = padded[:, :, p : p + x.shape[2], q : q + x.shape[3]]
                y = y + torch.einsum("nihw,oi->nohw", piece, self.conv.weight[:, :, p, q])
        return torch.relu(y).contiguous()
