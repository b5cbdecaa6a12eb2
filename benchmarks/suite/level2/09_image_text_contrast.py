"""The image-to-text half of CLIP's loss, per pair.

Class: loss
"""

import torch
import torch.nn.functional as F
from torch import nn

pairs = 704
width = 512


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.6))

    def forward(self, image, text):
        logits = self.scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
        return -F.log_softmax(logits, dim=-1).diagonal()


def get_inputs():
    return [torch.randn(pairs, width), torch.randn(pairs, width)]


def get_init_inputs():
    return []
