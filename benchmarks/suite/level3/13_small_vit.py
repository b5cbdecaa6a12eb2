"""A small vision transformer: patch embedding, class token, three encoder layers, head.

Class: network
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 4
side = 96
patch = 12
width = 192
depth = 3
heads = 3
classes = 100


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Layer(nn.Module):
    def __init__(self, size, count):
        super().__init__()
        self.count = count
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.packed, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 3 * size), nn.Linear(3 * size, size)

    def forward(self, x):
        q, k, v = self.packed(self.norm1(x)).unflatten(-1, (3, self.count, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self, extent, piece, size, layers, count, labels):
        super().__init__()
        self.embed = nn.Conv2d(3, size, piece, stride=piece)
        self.cls = nn.Parameter(torch.randn(1, 1, size))
        self.positions = nn.Parameter(torch.randn(1, (extent // piece) ** 2 + 1, size))
        self.blocks = nn.ModuleList(Layer(size, count) for _ in range(layers))
        self.norm = nn.LayerNorm(size)
        self.head = nn.Linear(size, labels)
        scale_weights(self)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls.expand(x.shape[0], -1, -1), tokens), dim=1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens[:, 0]))


def get_inputs():
    return [torch.randn(batch, 3, side, side)]


def get_init_inputs():
    return [side, patch, width, depth, heads, classes]
