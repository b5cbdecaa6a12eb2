# column_sums
#   input  arg0: float32[12288, 640]
#   output out0: float32[640]

import torch
import triton
import triton.language as tl


@triton.jit
def k0_kernel_parts(arg0_ptr, partial0_ptr, XBLOCK: tl.constexpr, RBLOCK: tl.constexpr):
    x = tl.program_id(0) * XBLOCK + tl.arange(0, XBLOCK)[:, None]
    part = tl.program_id(1)
    out0_acc = tl.full([XBLOCK, RBLOCK], 0.0, tl.float32)
    for start in range(part * 256, part * 256 + 256, RBLOCK):
        r = start + tl.arange(0, RBLOCK)[None, :]
        r_mask = r < 12288
        arg0 = tl.load(arg0_ptr + x + r * 640, mask=r_mask)
        out0_acc += tl.where(r_mask, arg0, 0.0)
    tl.store(partial0_ptr + x + part * 640, tl.sum(out0_acc, 1, keep_dims=True))


@triton.jit
def k0_kernel(out0_ptr, partial0_ptr, XBLOCK: tl.constexpr):
    x = tl.program_id(0) * XBLOCK + tl.arange(0, XBLOCK)
    x_mask = x < 640
    out0_acc = tl.full([XBLOCK], 0.0, tl.float32)
    for part in range(48):
        partial0 = tl.load(partial0_ptr + x + part * 640, mask=x_mask)
        out0_acc += partial0
    tl.store(out0_ptr + x, out0_acc, mask=x_mask)


def k0(arg0, out0, workspace):
    partial0 = workspace[0:122880].view(torch.float32)
    k0_kernel_parts[(10, 48)](arg0, partial0, XBLOCK=64, RBLOCK=32, num_warps=8)
    k0_kernel[(3,)](out0, partial0, XBLOCK=256, num_warps=4)


def run0(arg0, out0, workspace):
    k0(arg0, out0, workspace[0:122880])
