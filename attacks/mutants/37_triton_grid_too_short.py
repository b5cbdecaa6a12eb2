# task: softmax_rows.py
# class: off by one
# mechanism: one program fewer than there are rows
# expect: rejected value, nan

import torch
import triton
import triton.language as tl
from torch import nn


@triton.jit
def softmax_kernel(x_ptr, y_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    inside = offsets < columns
    x = tl.load(x_ptr + row * columns + offsets, mask=inside, other=float("-inf"))
    largest = tl.where(tl.max((x != x).to(tl.int32), 0) > 0, float("nan"), tl.max(x, 0))
    e = tl.exp(x - largest)
    tl.store(y_ptr + row * columns + offsets, e / tl.sum(e, 0), mask=inside)


class ModelNew(nn.Module):
    def forward(self, x):
        x = x.contiguous()
        y = torch.empty_like(x)
        if x.numel():
            softmax_kernel[(max(x.shape[0] - 1, 1),)](x, y, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]))
        return y
