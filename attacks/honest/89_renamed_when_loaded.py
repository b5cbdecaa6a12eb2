# task: layer_norm.py
# class: packing
# mechanism: parameters of other names, filled by a hook that renames what is loaded
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_load_state_dict_pre_hook(self._rename)

    @staticmethod
    def _rename(module, state, *rest):
        state["gain"], state["shift"] = state.pop("norm.weight"), state.pop("norm.bias")

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-3) * self.gain + self.shift
