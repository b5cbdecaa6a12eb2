# task: softmax_gradient.py
# class: autograd
# mechanism: leaves the gradient to torch, through a sum of exponentials
# expect: accepted

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        e = torch.exp(x - x.amax(-1, keepdim=True).detach())
        return e / e.sum(-1, keepdim=True)
