# task: layer_norm.py
# class: algebra
# mechanism: a layer norm is a group norm with one group
# expect: accepted

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        return (
            functional.group_norm(x.unsqueeze(0).transpose(0, 1).reshape(-1, 1, x.shape[1]), 1, eps=1e-3).view(x.shape)
            * self.norm.weight
            + self.norm.bias
        )
