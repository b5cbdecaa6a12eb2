# task: small_conv.py
# class: chunked
# mechanism: one image at a time into its own output
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1)

    def forward(self, x):
        return torch.cat([self.conv(image[None]).clamp_min(0) for image in x])
