"""One level of a U-Net: double convolution down, pooling, double convolution, upsampling, concatenation with the skip.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 1
inputs = 16
channels = 32
side = 96


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


def double_conv(fan, width):
    return nn.Sequential(
        nn.Conv2d(fan, width, 3, padding=1),
        nn.GroupNorm(8, width),
        nn.LeakyReLU(0.1),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(8, width),
        nn.LeakyReLU(0.1),
    )


class Model(nn.Module):
    def __init__(self, fan, width):
        super().__init__()
        self.encode = double_conv(fan, width)
        self.bottom = double_conv(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.decode = double_conv(2 * width, width)
        scale_weights(self)

    def forward(self, x):
        skip = self.encode(x)
        deep = self.bottom(F.max_pool2d(skip, 2))
        return self.decode(torch.cat((skip, self.up(deep)), dim=1))


def get_inputs():
    return [torch.randn(batch, inputs, side, side)]


def get_init_inputs():
    return [inputs, channels]
