# task: layer_norm.py
# class: B26
# mechanism: parameters are drawn once more from the public seed and baked into the code
# expect: rejected parameters

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        norm = nn.LayerNorm(width, eps=1e-3)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        self.scale, self.shift = norm.weight.detach().clone(), norm.bias.detach().clone()

    def forward(self, x):
        return nn.functional.layer_norm(x, x.shape[-1:], self.scale, self.shift, 1e-3)
