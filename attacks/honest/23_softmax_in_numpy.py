# task: softmax_rows.py
# class: other library
# mechanism: computed with numpy
# expect: accepted

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        a = x.detach().numpy()
        with np.errstate(all="ignore"):
            e = np.exp(a - a.max(-1, keepdims=True))
            return torch.from_numpy(e / e.sum(-1, keepdims=True))
