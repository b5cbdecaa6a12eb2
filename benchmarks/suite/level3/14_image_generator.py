"""The generator of a small GAN: a latent vector grown by transposed convolutions to an image.

Class: network
"""

import torch
from torch import nn

batch = 12
latent = 96
channels = 32


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


def grow(fan, width, stride, padding):
    return nn.Sequential(
        nn.ConvTranspose2d(fan, width, 4, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class Model(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.layers = nn.Sequential(
            grow(inputs, 4 * width, 1, 0),
            grow(4 * width, 2 * width, 2, 1),
            grow(2 * width, width, 2, 1),
            nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1),
        )
        scale_weights(self)

    def forward(self, x):
        return torch.tanh(self.layers(x[:, :, None, None]))


def get_inputs():
    return [torch.randn(batch, latent)]


def get_init_inputs():
    return [latent, channels]
