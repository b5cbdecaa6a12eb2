# task: batch_mean.py
# class: B28
# mechanism: state hides in a context variable
# expect: rejected value, unstable

from contextvars import ContextVar

from torch import nn

KEPT = ContextVar("kept", default=None)


class ModelNew(nn.Module):
    def forward(self, x):
        if KEPT.get() is None:
            KEPT.set(x.mean(0))
        return KEPT.get().clone()
