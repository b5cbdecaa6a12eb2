"""Programs for the rules: real Triton, and every way round it that we know. ``NAME: (is Triton, text)``."""

from __future__ import annotations

HEAD = "import torch\nimport triton\nimport triton.language as tl\nimport torch.nn.functional as F\n\n\n"

ADD = """@triton.jit
def kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    x = tl.load(x_ptr + at, mask=inside)
    y = tl.load(y_ptr + at, mask=inside)
    tl.store(out_ptr + at, x + y, mask=inside)


"""

RELU = """@triton.jit
def kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    x = tl.load(x_ptr + at, mask=inside)
    tl.store(out_ptr + at, tl.maximum(x, 0.0), mask=inside)


"""

RUN_ADD = """def run(x, y):
    out = torch.empty_like(x)
    n = x.numel()
    kernel[(triton.cdiv(n, 128),)](x, y, out, n, BLOCK=128)
    return out
"""

RUN_RELU = """def run(x):
    out = torch.empty_like(x)
    n = x.numel()
    kernel[(triton.cdiv(n, 128),)](x, out, n, BLOCK=128)
    return out
"""

SOFTMAX = """@triton.jit
def softmax_kernel(x_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < cols
    x = tl.load(x_ptr + row * cols + at, mask=inside, other=-float("inf"))
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row * cols + at, e / tl.sum(e, axis=0), mask=inside)


def run(x):
    rows, cols = x.shape
    out = torch.empty_like(x)
    softmax_kernel[(rows,)](x, out, cols, BLOCK=triton.next_power_of_2(cols))
    return out
"""

NORM = """@triton.jit
def norm_kernel(x_ptr, w_ptr, b_ptr, out_ptr, cols, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < cols
    x = tl.load(x_ptr + row * cols + at, mask=inside, other=0.0)
    mean = tl.sum(x, axis=0) / cols
    d = tl.where(inside, x - mean, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(d * d, axis=0) / cols + eps)
    w = tl.load(w_ptr + at, mask=inside)
    b = tl.load(b_ptr + at, mask=inside)
    tl.store(out_ptr + row * cols + at, d * scale * w + b, mask=inside)


def run(x, weight, bias, eps: float = 1e-5):
    out = torch.empty_like(x)
    norm_kernel[(x.shape[0],)](x, weight, bias, out, x.shape[1], eps, BLOCK=triton.next_power_of_2(x.shape[1]))
    return out
"""

MATMUL = """@triton.jit
def mm_kernel(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    cols = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        deep = k + tl.arange(0, BK)
        a_at = a_ptr + rows[:, None] * K + deep[None, :]
        a = tl.load(a_at, mask=(rows[:, None] < M) & (deep[None, :] < K), other=0.0)
        b_at = b_ptr + deep[:, None] * N + cols[None, :]
        b = tl.load(b_at, mask=(deep[:, None] < K) & (cols[None, :] < N), other=0.0)
        acc += tl.dot(a, b, input_precision="ieee")
    c_at = c_ptr + rows[:, None] * N + cols[None, :]
    tl.store(c_at, acc, mask=(rows[:, None] < M) & (cols[None, :] < N))


def run(a, b):
    M, K = a.shape
    N = b.shape[1]
    c = torch.empty((M, N), device=a.device, dtype=torch.float32)
    grid = (triton.cdiv(M, 16), triton.cdiv(N, 16))
    mm_kernel[grid](a, b, c, M, N, K, BM=16, BN=16, BK=16)
    return c
"""


def _run(*lines: str, given: str = "x") -> str:
    return f"def run({given}):\n" + "".join(f"    {line}\n" for line in lines)


_LAUNCH = "kernel[(triton.cdiv(x.numel(), 128),)](x, out, x.numel(), BLOCK=128)"

GOOD = {
    "add": HEAD + ADD + RUN_ADD,
    "relu": HEAD + RELU + RUN_RELU,
    "softmax": HEAD + SOFTMAX,
    "layer norm": HEAD + NORM,
    "matmul": HEAD + MATMUL,
    "jit by name": HEAD + RELU.replace("@triton.jit", "from triton import jit\n@jit") + RUN_RELU,
    "autotuned": HEAD
    + "@triton.autotune(configs=[triton.Config({'BLOCK': 128})], key=['n'])\n" + RELU
    + _run("out = torch.empty_like(x)", "kernel[lambda m: (triton.cdiv(x.numel(), m['BLOCK']),)](x, out, x.numel())",
           "return out"),
    "views": HEAD + RELU
    + _run("x = x.contiguous().view(-1)", "out = torch.zeros(x.shape, dtype=x.dtype, device=x.device)", _LAUNCH,
           "return out.view(2, -1)"),
    "helper on the host": HEAD + RELU
    + "def launch(x, out):\n    " + _LAUNCH + "\n\n\n" + _run("out = torch.empty_like(x)", "launch(x, out)",
                                                               "return out"),
    "helper in the kernel": HEAD
    + "@triton.jit\ndef write(p, v, inside):\n    tl.store(p, v, mask=inside)\n\n\n"
    + RELU.replace("tl.store(out_ptr + at, tl.maximum(x, 0.0), mask=inside)",
                   "write(out_ptr + at, tl.maximum(x, 0.0), inside)") + RUN_RELU,
    "in place": HEAD + RELU + _run("kernel[(triton.cdiv(x.numel(), 128),)](x, x, x.numel(), BLOCK=128)", "return x"),
    "a class": HEAD + RELU
    + "class ModelNew(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n\n"
    + "    def forward(self, x):\n        out = torch.empty_like(x)\n        " + _LAUNCH + "\n        return out\n\n\n"
    + "run = None\n",
    "two results": HEAD + RELU
    + _run("out = torch.empty_like(x)", "more = torch.empty_like(x)", _LAUNCH, _LAUNCH.replace("out", "more"),
           "return out, more"),
    "a grid of its own": HEAD + RELU
    + _run("n = x.numel()", "out = torch.empty_like(x)", "blocks = (n + 127) // 128",
           "kernel[(blocks,)](x, out, n, BLOCK=128)", "return out"),
    "pointers by name": HEAD
    + RELU.replace("tl.store(out_ptr + at", "to = out_ptr + at\n    tl.store(to") + RUN_RELU,
    "a check of arguments": HEAD + RELU
    + _run("assert x.is_contiguous()", "if x.dim() == 0:", "    raise ValueError('a number')",
           "out = torch.empty_like(x)", _LAUNCH, "return out"),
}  # fmt: skip

BAD = {
    "torch alone": HEAD + _run("return torch.relu(x)"),
    "nothing": "",
    "prose": "I cannot help with that.",
    "a syntax error": HEAD + RELU + "def run(x:\n",
    "no jit": HEAD + RELU.replace("@triton.jit\n", "") + RUN_RELU,
    "never launched": HEAD + RELU + _run("return torch.relu(x)"),
    "never launched, quietly": HEAD + RELU + _run("out = torch.empty_like(x)", "return out"),
    "result discarded": HEAD + RELU + _run("out = torch.empty_like(x)", _LAUNCH, "return x.clamp(min=0)"),
    "result discarded for a name": HEAD + RELU
    + _run("out = torch.empty_like(x)", "better = torch.relu(x)", _LAUNCH, "return better"),
    "relu here, convolution there": HEAD + RELU
    + _run("x = F.conv2d(x, w)", "out = torch.empty_like(x)", _LAUNCH, "return out", given="x, w"),
    "matmul by operator": HEAD + RELU + _run("x = x @ w", "out = torch.empty_like(x)", _LAUNCH, "return out",
                                             given="x, w"),
    "sum by method": HEAD + RELU + _run("out = torch.empty_like(x)", _LAUNCH, "return out.sum()"),
    "torch.compile": HEAD + RELU
    + "fast = torch.compile(lambda x: torch.relu(x))\n\n\n" + _run("out = torch.empty_like(x)", _LAUNCH,
                                                                   "return fast(x)"),
    "exec": HEAD + RELU + _run("space = {}", "exec('import torch\\ndef f(x): return torch.relu(x)', space)",
                               "return space['f'](x)"),
    "eval": HEAD + RELU + _run("return eval('torch.relu(x)')"),
    "getattr": HEAD + RELU + _run("out = torch.empty_like(x)", _LAUNCH, "return getattr(torch, 're' + 'lu')(x)"),
    "computed import": HEAD + RELU + _run("out = torch.empty_like(x)", _LAUNCH,
                                          "return __import__('torch').relu(x)"),
    "dummy kernel copies torch's result": HEAD
    + RELU.replace("tl.maximum(x, 0.0)", "x") + _run("x = torch.relu(x)", "out = torch.empty_like(x)", _LAUNCH,
                                                     "return out"),
    "falls back when it fails": HEAD + RELU
    + _run("try:", "    out = torch.empty_like(x)", f"    {_LAUNCH}", "    return out", "except Exception:",
           "    return torch.relu(x)"),
    "falls back for a shape": HEAD + RELU
    + _run("if x.numel() > 1:", "    return x.relu()", "out = torch.empty_like(x)", _LAUNCH, "return out"),
    "writes torch's result over it": HEAD + RELU
    + _run("out = torch.empty_like(x)", _LAUNCH, "out.copy_(torch.relu(x))", "return out"),
    "writes into it by index": HEAD + RELU + _run("out = torch.empty_like(x)", _LAUNCH, "out[:] = x", "return out"),
    "adds afterwards": HEAD + RELU + _run("out = torch.empty_like(x)", _LAUNCH, "out += x", "return out"),
    "out argument": HEAD + RELU
    + _run("out = torch.empty_like(x)", _LAUNCH, "torch.relu(x, out=out)", "return out"),
    "a layer": HEAD + RELU
    + "class run(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    + "        self.layer = torch.nn.ReLU()\n\n    def forward(self, x):\n        out = torch.empty_like(x)\n        "
    + _LAUNCH + "\n        return self.layer(x)\n",
    "through NumPy": "import numpy as np\n" + HEAD + RELU
    + _run("out = torch.empty_like(x)", _LAUNCH, "return torch.from_numpy(np.maximum(x.numpy(), 0))"),
    "through a list": HEAD + RELU
    + _run("out = torch.empty_like(x)", _LAUNCH, "return torch.tensor([max(v, 0) for v in x.tolist()])"),
    "in a helper": HEAD + RELU
    + "def finish(x):\n    return x.relu()\n\n\n" + _run("out = torch.empty_like(x)", _LAUNCH, "return finish(x)"),
    "in a helper's argument": HEAD + RELU
    + "def launch(x, out):\n    " + _LAUNCH + "\n\n\n"
    + _run("out = torch.empty_like(x)", "launch(torch.relu(x), out)", "return out"),
    "a kernel that stores nothing": HEAD + RELU.replace("tl.store", "tl.device_print")
    + RUN_RELU,
    "a kernel that loads nothing": HEAD
    + RELU.replace("tl.load(x_ptr + at, mask=inside)", "at * 0.0") + RUN_RELU,
    "another output is written": HEAD + RELU
    + _run("out = torch.empty_like(x)", "zero = torch.zeros_like(x)", _LAUNCH, "return zero"),
    "torch.ops": HEAD + RELU + _run("out = torch.empty_like(x)", _LAUNCH, "return torch.ops.aten.relu(x)"),
    "an alias of torch": "import torch as np\n" + HEAD + RELU
    + _run("out = np.empty_like(x)", _LAUNCH, "return np.relu(x)"),
    "an alias of a function": HEAD + RELU
    + "f = torch.relu\n\n\n" + _run("out = torch.empty_like(x)", _LAUNCH, "return f(x)"),
    "reads the caller's frame": "import sys\n" + HEAD + RELU
    + _run("out = torch.empty_like(x)", _LAUNCH, "sys._getframe(1)", "return out"),
    "runs a program": "import subprocess\n" + HEAD + RELU
    + _run("subprocess.run(['true'])", "out = torch.empty_like(x)", _LAUNCH, "return out"),
    "no entry": HEAD + RELU + RUN_RELU.replace("def run", "def other"),
    "launched elsewhere": HEAD + RELU + RUN_RELU.replace("def run", "def other")
    + "\n\n" + _run("out = torch.empty_like(x)", "return out"),
    "a subclass of tensor": HEAD + RELU
    + "class T(torch.Tensor):\n    pass\n\n\n" + RUN_RELU,
}  # fmt: skip
GOOD["a class"] = GOOD["a class"].replace("class ModelNew", "class run").replace("run = None\n", "")
