"""A recurrent text encoder: embedding, a GRU layer, attention pooling over time.

Class: network
"""

import torch
import torch.nn.functional as F
from torch import nn

batch = 24
steps = 18
vocabulary = 4096
width = 160
hidden = 192


def scale_weights(model):
    """Variance-preserving weights and slightly random vectors, so that signal survives and every parameter matters."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:
                p.add_(0.1 * torch.randn_like(p))


class Model(nn.Module):
    def __init__(self, words, size, inner):
        super().__init__()
        self.table = nn.Embedding(words, size)
        self.gru = nn.GRU(size, inner, batch_first=True)
        self.score = nn.Linear(inner, 1)
        scale_weights(self)

    def forward(self, ids):
        states, _ = self.gru(self.table(ids))
        weights = F.softmax(self.score(states), dim=1)
        return (weights * states).sum(dim=1)


def get_inputs():
    return [torch.randint(0, vocabulary, (batch, steps))]


def get_init_inputs():
    return [vocabulary, width, hidden]
