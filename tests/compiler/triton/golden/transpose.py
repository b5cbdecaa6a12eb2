# transpose
#   input  arg0: float32[6, 120, 4000]
#   output out0: float32[6, 4000, 120]

import triton
import triton.language as tl


@triton.jit
def k0_kernel(arg0_ptr, out0_ptr, XBLOCK: tl.constexpr, YBLOCK: tl.constexpr):
    program = tl.program_id(0)
    x = program % 4 * XBLOCK + tl.arange(0, XBLOCK)[None, :]
    x_mask = x < 120
    program_1 = program // 4
    y = program_1 % 125 * YBLOCK + tl.arange(0, YBLOCK)[:, None]
    program_2 = program_1 // 125
    arg0 = tl.load(arg0_ptr + program_2 * 480000 + y + x * 4000, mask=x_mask)
    tl.store(out0_ptr + program_2 * 480000 + y * 120 + x, arg0 + 1.0, mask=x_mask)


def k0(arg0, out0):
    k0_kernel[(3000,)](arg0, out0, XBLOCK=32, YBLOCK=32, num_warps=4)


def run0(arg0, out0):
    k0(arg0, out0)
