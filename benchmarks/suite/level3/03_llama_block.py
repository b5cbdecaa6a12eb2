"""A LLaMA-like block: RMSNorm, rotary positions, grouped-query causal attention, SwiGLU.

Class: block
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 2
tokens = 192
width = 384
heads = 6
key_heads = 2
hidden = 1024


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Model(nn.Module):
    def __init__(self, size, count, key_count, inner, length):
        super().__init__()
        self.heads, self.key_heads = count, key_count
        head_size = size // count
        self.norm1 = nn.RMSNorm(size, eps=1e-5)
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, key_count * head_size, bias=False)
        self.value = nn.Linear(size, key_count * head_size, bias=False)
        self.out = nn.Linear(size, size, bias=False)
        self.norm2 = nn.RMSNorm(size, eps=1e-5)
        self.gate = nn.Linear(size, inner, bias=False)
        self.up = nn.Linear(size, inner, bias=False)
        self.down = nn.Linear(inner, size, bias=False)
        angle = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(0, head_size, 2) / head_size)).repeat(1, 2)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        scale_weights(self)

    def forward(self, x):
        normed = self.norm1(x)
        q = rotate(self.query(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2), self.cos, self.sin)
        k = rotate(self.key(normed).unflatten(-1, (self.key_heads, -1)).transpose(1, 2), self.cos, self.sin)
        v = self.value(normed).unflatten(-1, (self.key_heads, -1)).transpose(1, 2)
        share = self.heads // self.key_heads
        k, v = k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        normed = self.norm2(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


def get_inputs():
    return [torch.randn(batch, tokens, width)]


def get_init_inputs():
    return [width, heads, key_heads, hidden, tokens]
