"""A click predictor in the manner of DLRM: embedding tables, pairwise interactions, two small networks.

Class: network
"""

import torch
import torch.nn.functional as F
from torch import nn

samples = 1024
dense = 16
tables = 8
rows = 3000
width = 32


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, inputs, count, words, size):
        super().__init__()
        self.bottom = nn.Linear(inputs, size)
        self.table = nn.Embedding(count * words, size)
        left, right = torch.tril_indices(count + 1, count + 1, offset=-1)
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.register_buffer("offset", torch.arange(count) * words)
        self.top = nn.Linear(size + count * (count + 1) // 2, 128)
        self.head = nn.Linear(128, 1)
        scale_weights(self)

    def forward(self, x, ids):
        bottom = F.relu(self.bottom(x))
        looked_up = self.table(ids + self.offset).view(x.shape[0], -1, bottom.shape[-1])
        vectors = torch.cat((bottom[:, None, :], looked_up), dim=1)
        products = vectors @ vectors.transpose(1, 2)
        pairs = products[:, self.left, self.right]
        return self.head(F.relu(self.top(torch.cat((bottom, 0.2 * pairs), dim=1))))[:, 0]


def get_inputs():
    return [torch.randn(samples, dense), torch.randint(0, rows, (samples, tables))]


def get_init_inputs():
    return [dense, tables, rows, width]
