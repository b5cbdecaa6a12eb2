# task: softmax_rows.py
# class: C32
# mechanism: a thread fills the output after the call has returned
# expect: rejected value, unstable, rules, walls, clock

import threading
import time

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.zeros_like(x)

        def work():
            time.sleep(0.02)
            out.copy_(torch.softmax(x, -1))

        threading.Thread(target=work).start()
        return out
