"""Times our C++ OpenMP kernels against the libraries that people would call: NumPy, SciPy, PyTorch and Numba.

``python benchmarks/hpc.py [--threads N] [--seconds S] [--match TEXT] [--out FILE]``. The sources are those that
``kernelwright bench hpc --model kernelwright`` grades, in float64. All take turns in short rounds; a ratio is the
rival's time over ours, its median over rounds with quartiles. Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-w")
ENTRIES = {  # what Python calls: the function under a name that is not mangled
    "axpy": "void run(long n, double a, const double* x, double* y) { axpy(n, a, x, y); }",
    "gemv": "void run(long m, long n, const double* A, const double* x, double* y) { gemv(m, n, A, x, y); }",
    "gemm": "void run(long m, long n, long k, const double* A, const double* B, double* C) { gemm(m, n, k, A, B, C); }",
    "spmv": "void run(long n, const int* r, const int* c, const double* v, const double* x, double* y)"
    " { spmv(n, r, c, v, x, y); }",
    "jacobi": "void run(long nx, long ny, long nz, const double* u, double* next) { jacobi(nx, ny, nz, u, next); }",
    "cg": "int run(long n, const int* r, const int* c, const double* v, const double* b, double* x, double tol,"
    " int most) { return cg(n, r, c, v, b, x, tol, most); }",
}
Call = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One case. ``speedup``: rival's time over ours, [quartile, median, quartile]; ``worst``: the strongest rival's."""

    kernel: str
    case: str
    milliseconds: float
    speedup: dict[str, list[float]]
    worst: float
    rounds: int


@dataclass(frozen=True)
class Case:
    """``result`` and ``expected`` are compared once before anything is timed."""

    kernel: str
    name: str
    ours: Call
    rivals: dict[str, Call]
    result: Call
    expected: Call


def main() -> None:
    options = _options()
    count = str(options.threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    os.environ.update(dict.fromkeys(names, count))  # read when the libraries are loaded
    import numpy as np
    import torch
    from stamp import stamp
    from turns import ratios, shown, take_turns

    from suite import machine_slug

    torch.set_num_threads(options.threads)
    rows = []
    for case in _cases():
        if options.match not in f"{case.kernel} {case.name}":
            continue
        case.ours()
        if not np.allclose(case.result(), case.expected(), rtol=1e-6, atol=1e-8):
            raise SystemExit(f"{case.kernel} {case.name}: differs from the library's result")
        times = take_turns({"ours": case.ours, **case.rivals}, options.threads, options.seconds)
        speedup = ratios(times, "ours")
        worst = min(median for _, median, _ in speedup.values())
        best = round(min(times["ours"]) * 1e3, 4)
        rows.append(Row(case.kernel, case.name, best, speedup, worst, len(times["ours"])))
        print(f"{case.kernel:7}{case.name:24}{best:10.3f} ms  {shown(speedup)}", flush=True)
    out = options.out or ROOT / f"benchmarks/results/hpc-{machine_slug()}.json"
    if out != Path("-"):
        document = {**stamp(), "threads": options.threads, "load": round(os.getloadavg()[0], 2)}
        out.write_text(json.dumps({**document, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=3.0, help="for the rounds of one case")
    parser.add_argument("--match", default="", help="keep cases whose 'kernel name' contains this")
    parser.add_argument("--out", type=Path, help="where to write ('-': nowhere)")
    return parser.parse_args()


def _cases() -> Iterator[Case]:
    yield from (_axpy(n) for n in (1 << 16, 1 << 20, 1 << 23))
    yield from (_gemv(m, n) for m, n in ((512, 512), (4096, 4096), (16384, 1024)))
    yield from (_gemm(n) for n in (256, 512, 1024))
    yield from (_spmv(name, matrix) for name, matrix in _matrices())
    yield from (_jacobi(n) for n in (64, 256))
    yield _cg(64)


def _axpy(n: int) -> Case:
    import numpy as np
    import torch
    from scipy.linalg.blas import daxpy

    x, y = np.ones(n), np.zeros(n)
    own, a = np.zeros(n), 1e-3
    tx, ty = torch.from_numpy(x), torch.from_numpy(y.copy())
    rivals = {"scipy daxpy": lambda: daxpy(x, y, a=a), "torch": lambda: ty.add_(tx, alpha=a)}
    rivals |= _numba("for i in prange(x.size):\n    y[i] += a * x[i]", "a, x, y", a, x, np.zeros(n))
    run = _ours("axpy", ctypes.c_long(n), ctypes.c_double(a), x, own)
    fresh = np.full(n, 2.0)
    check = _ours("axpy", ctypes.c_long(n), ctypes.c_double(a), x, fresh)
    return Case("axpy", f"{n}", run, rivals, lambda: (check(), fresh)[1], lambda: a * x + 2.0)


def _gemv(m: int, n: int) -> Case:
    import numpy as np
    import torch

    rng = np.random.default_rng(0)
    A, x, y, other = rng.standard_normal((m, n)), rng.standard_normal(n), np.empty(m), np.empty(m)
    tA, tx, ty = torch.from_numpy(A), torch.from_numpy(x), torch.empty(m, dtype=torch.float64)
    rivals = {"numpy": lambda: np.matmul(A, x, out=other), "torch": lambda: torch.mv(tA, tx, out=ty)}
    body = (
        "for i in prange(A.shape[0]):\n    s = 0.0\n"
        "    for j in range(A.shape[1]):\n        s += A[i, j] * x[j]\n    y[i] = s"
    )
    rivals |= _numba(body, "A, x, y", A, x, np.empty(m))
    run = _ours("gemv", ctypes.c_long(m), ctypes.c_long(n), A, x, y)
    return Case("gemv", f"{m} x {n}", run, rivals, lambda: y, lambda: A @ x)


def _gemm(n: int) -> Case:
    import numpy as np
    import torch

    rng = np.random.default_rng(0)
    A, B, C, other = rng.standard_normal((n, n)), rng.standard_normal((n, n)), np.empty((n, n)), np.empty((n, n))
    tA, tB, tC = torch.from_numpy(A), torch.from_numpy(B), torch.empty(n, n, dtype=torch.float64)
    rivals = {"numpy": lambda: np.matmul(A, B, out=other), "torch": lambda: torch.mm(tA, tB, out=tC)}
    size = ctypes.c_long(n)
    return Case("gemm", f"{n}", _ours("gemm", size, size, size, A, B, C), rivals, lambda: C, lambda: A @ B)


def _matrices() -> Iterator[tuple[str, Any]]:
    import numpy as np
    import scipy.sparse as sp

    yield "Poisson 32^3", _poisson(32)
    yield "Poisson 100^3", _poisson(100)
    rng, n = np.random.default_rng(0), 200_000
    lengths = np.minimum(rng.zipf(1.8, n), 20_000)
    rows = np.repeat(np.arange(n), lengths)
    columns = rng.integers(0, n, len(rows))
    yield "power law", sp.csr_matrix((rng.standard_normal(len(rows)), (rows, columns)), (n, n))


def _poisson(n: int) -> Any:
    """The seven-point Laplacian on a cube."""
    import scipy.sparse as sp

    line = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], (n, n))
    one = sp.identity(n)
    total = sp.kron(sp.kron(line, one), one) + sp.kron(sp.kron(one, line), one) + sp.kron(sp.kron(one, one), line)
    return sp.csr_matrix(total)


def _spmv(name: str, A: Any) -> Case:
    import numpy as np
    import torch

    n = A.shape[0]
    x, y = np.random.default_rng(1).standard_normal(n), np.empty(n)
    tA, tx, ty = _torch_csr(A), torch.from_numpy(x), torch.empty(n, dtype=torch.float64)
    rivals: dict[str, Call] = {"scipy": lambda: A @ x, "torch": lambda: torch.mv(tA, tx, out=ty)}
    body = (
        "for i in prange(y.size):\n    s = 0.0\n"
        "    for k in range(r[i], r[i + 1]):\n        s += v[k] * x[c[k]]\n    y[i] = s"
    )
    rivals |= _numba(body, "r, c, v, x, y", A.indptr, A.indices, A.data, x, np.empty(n))
    run = _ours("spmv", ctypes.c_long(n), A.indptr, A.indices, A.data, x, y)
    return Case("spmv", name, run, rivals, lambda: y, lambda: A @ x)


def _torch_csr(A: Any) -> Any:
    import torch

    parts = (torch.from_numpy(A.indptr), torch.from_numpy(A.indices), torch.from_numpy(A.data))
    return torch.sparse_csr_tensor(*parts, size=A.shape)


def _jacobi(n: int) -> Case:
    import numpy as np
    import torch

    u = np.random.default_rng(2).standard_normal((n, n, n))
    after, t, size = u.copy(), torch.from_numpy(u), ctypes.c_long(n)

    def sweep(u: Any) -> Any:
        total = u[:-2, 1:-1, 1:-1] + u[2:, 1:-1, 1:-1] + u[1:-1, :-2, 1:-1] + u[1:-1, 2:, 1:-1]
        return (total + u[1:-1, 1:-1, :-2] + u[1:-1, 1:-1, 2:]) / 6

    body = (
        "for i in prange(1, u.shape[0] - 1):\n    for j in range(1, u.shape[1] - 1):\n"
        "        for k in range(1, u.shape[2] - 1):\n            w[i, j, k] = (u[i - 1, j, k] + u[i + 1, j, k]"
        " + u[i, j - 1, k] + u[i, j + 1, k] + u[i, j, k - 1] + u[i, j, k + 1]) * (1 / 6)"
    )
    rivals = {"numpy": lambda: sweep(u), "torch": lambda: sweep(t), **_numba(body, "u, w", u, u.copy())}
    inner = (slice(1, -1),) * 3
    run = _ours("jacobi", size, size, size, u, after)
    return Case("jacobi", f"{n}^3", run, rivals, lambda: after[inner], lambda: sweep(u))


def _cg(n: int) -> Case:
    import numpy as np
    import torch
    from scipy.sparse.linalg import cg

    A = _poisson(n)
    b = np.random.default_rng(3).standard_normal(A.shape[0])
    x, tolerance = np.zeros_like(b), 1e-8 * float(np.linalg.norm(b))
    solve = _ours(
        "cg", ctypes.c_long(len(b)), A.indptr, A.indices, A.data, b, x, ctypes.c_double(tolerance), ctypes.c_int(9999)
    )
    tA, tb = _torch_csr(A), torch.from_numpy(b)

    def ours() -> None:
        x[:] = 0.0
        solve()

    def with_torch() -> Any:
        found, r = torch.zeros_like(tb), tb.clone()
        p, rr = r.clone(), torch.dot(tb, tb)
        while rr.sqrt() > tolerance:
            q = tA @ p
            alpha = rr / torch.dot(p, q)
            found.add_(alpha * p)
            r.sub_(alpha * q)
            new = torch.dot(r, r)
            p.mul_(new / rr).add_(r)
            rr = new
        return found

    rivals: dict[str, Call] = {"scipy": lambda: cg(A, b, rtol=1e-8, atol=0.0), "torch": with_torch}
    return Case("cg", f"Poisson {n}^3", ours, rivals, lambda: x, lambda: cg(A, b, rtol=1e-8, atol=0.0)[0])


def _ours(kernel: str, *arguments: Any) -> Call:
    """Our kernel bound to these arguments."""
    from kernelwright.bench.hpc import generated
    from kernelwright.targets.cpu import build_cached, known_compiler, run_compiler

    text = f'{generated(kernel)}\nextern "C" {ENTRIES[kernel]}\n'

    def compile_in(folder: Path, end: float) -> None:
        (folder / "kernel.cpp").write_text(text)
        run_compiler([*known_compiler().argv, *FLAGS, "kernel.cpp", "-o", "kernel.so"], folder, end)

    key = hashlib.sha256(f"{text}{FLAGS}{known_compiler().identity}".encode()).hexdigest()
    run = ctypes.CDLL(str(build_cached(key, compile_in, 120.0).library)).run
    values = [a if isinstance(a, ctypes._SimpleCData) else ctypes.c_void_p(a.ctypes.data) for a in arguments]
    return lambda keep=arguments: run(*values)


def _numba(body: str, names: str, *arguments: Any) -> dict[str, Call]:
    """The loop as Numba compiles it, if that is installed."""
    if importlib.util.find_spec("numba") is None:
        return {}
    import numba

    indented = body.replace("\n", "\n    ")
    scope: dict[str, Any] = {"prange": numba.prange}
    exec(f"def loop({names}):\n    {indented}", scope)
    compiled = numba.njit(parallel=True, fastmath=True)(scope["loop"])
    return {"numba": lambda: compiled(*arguments)}


if __name__ == "__main__":
    main()
