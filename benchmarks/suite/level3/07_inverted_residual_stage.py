"""Two inverted residuals of a mobile network: widen, depthwise, project, the first one strided.

Class: block
"""

import torch
from torch import nn

batch = 4
inputs = 24
outputs = 40
side = 52


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


def inverted(fan, width, stride):
    inner = 6 * fan
    return nn.Sequential(
        nn.Conv2d(fan, inner, 1, bias=False),
        nn.BatchNorm2d(inner).eval(),
        nn.Hardswish(),
        nn.Conv2d(inner, inner, 5, stride=stride, padding=2, groups=inner, bias=False),
        nn.BatchNorm2d(inner).eval(),
        nn.Hardswish(),
        nn.Conv2d(inner, width, 1, bias=False),
        nn.BatchNorm2d(width).eval(),
    )


class Model(nn.Module):
    def __init__(self, fan, width):
        super().__init__()
        self.first = inverted(fan, width, 2)
        self.second = inverted(width, width, 1)
        scale_weights(self)

    def forward(self, x):
        x = self.first(x)
        return x + self.second(x)


def get_inputs():
    return [torch.randn(batch, inputs, side, side)]


def get_init_inputs():
    return [inputs, outputs]
