# task: softmax_rows.py
# class: B29
# mechanism: chooses the fastest of its variants without looking at their results; the wrong one is
#   the fastest
# expect: rejected value, unstable

import time

import torch
from torch import nn


class ModelNew(nn.Module):
    best = None

    def forward(self, x):
        variants = [lambda t: torch.softmax(t, -1), lambda t: torch.exp(t - 5.0) if t.numel() < 0 else t.clone()]
        if self.best is None:
            seconds = []
            for variant in variants:
                start = time.perf_counter()
                for _ in range(20):
                    variant(x)
                seconds.append(time.perf_counter() - start)
            self.best = seconds.index(min(seconds))
        return variants[self.best](x)
