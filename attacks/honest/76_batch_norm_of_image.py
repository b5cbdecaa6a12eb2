# task: batch_norm.py
# class: memory format
# mechanism: the same norm on an image of one pixel
# expect: accepted

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        n = self.norm
        n.num_batches_tracked.add_(1)
        image, affine = x[:, :, None, None], (n.weight, n.bias)
        y = functional.batch_norm(image, n.running_mean, n.running_var, *affine, True, 0.1, n.eps)
        return y[:, :, 0, 0].contiguous()
