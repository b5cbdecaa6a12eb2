"""Which programming models a piece of code uses: by its directives, names and decorators, never by its comments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ._extract import Code, nodes

SERIAL = "serial"

_CPP_NAMES = (
    ("Kokkos", r"Kokkos::|KOKKOS_"),
    ("Thrust", r"thrust::|thrust/"),
    ("SyCL", r"(cl::)?sycl::|sycl/|CL/sycl"),
    (
        "OpenCL",
        r"\bcl_(mem|kernel|context|program)\b|\bclCreate\w+|\bcl::(Kernel|Buffer|Program)|__kernel\b|CL/(cl|opencl)",
    ),
    ("HIP", r"\bhip[A-Z]\w+|hip/|hipblas|rocblas|hipsparse"),
    ("CUDA", r"\bcuda[A-Z]\w+|cuda_runtime|cublas|cusparse|<<<"),
    ("threads", r"std::(jthread|thread|async|execution)\b|\bpthread_create\b|\bthread\s+\w+\s*[({]"),
    ("TBB", r"\btbb::"),
    ("MPI", r"\bMPI_\w+"),
)
_FORTRAN_MARK = re.compile(r"^\s*[!cC*]\$(omp|acc)\b(.*)$", re.IGNORECASE | re.MULTILINE)
_JULIA_NAMES = (
    ("KernelAbstractions", r"@kernel\b|KernelAbstractions"),
    ("AMDGPU", r"@roc\b|\bAMDGPU\b|\bROCArray\b"),
    ("CUDA", r"@cuda\b|\bCUDA\b|\bCuArray\b"),
    ("Threads", r"@threads\b|@spawn\b"),
)
_PARALLEL_OMP = re.compile(r"\b(parallel|task|taskloop|teams|sections)\b")


def tags(code: Code) -> frozenset[str]:
    """Names of the programming models, as :mod:`._models` calls them; ``serial`` where there is none."""
    found = frozenset(_FINDERS[code.language](code.text))
    if "OpenMP offload" in found:
        found -= {"OpenMP"}  # directives for the host are part of it
    if "Thrust" in found or "HIP" in found:
        found -= {"CUDA"}
    if found & {"Numba", "serial Numba", "Numba CUDA", "cuPy", "Triton", "pyCUDA"}:
        found -= {"numpy"}  # it holds the arrays
    if "Triton" in found:
        found -= {"torch"}
    return found or frozenset({SERIAL})


def _cpp(text: str) -> Iterator[str]:
    rest = []
    data = text.encode()
    for node in nodes(text):
        if node.type == "preproc_call":
            yield from _directive(data[node.start_byte : node.end_byte].decode(errors="replace"))
        if not node.children and node.type != "comment":
            rest.append(data[node.start_byte : node.end_byte].decode(errors="replace"))
    words = re.sub(r"\s*::\s*", "::", " ".join(rest))
    found = [name for name, pattern in _CPP_NAMES if re.search(pattern, words)]
    if "__global__" in words and "HIP" not in found:
        found.append("CUDA")
    yield from found


def _directive(line: str) -> Iterator[str]:
    words = line.replace("\\\n", " ").split("//")[0]
    if match := re.match(r"#\s*pragma\s+(omp|acc)\b(.*)", words, re.DOTALL):
        yield from _of_directive(match[1], match[2])


def _of_directive(family: str, rest: str) -> Iterator[str]:
    if family.lower() == "acc":
        yield "OpenACC"
    elif re.search(r"\btarget\b", rest, re.IGNORECASE):
        yield "OpenMP offload"
    elif _PARALLEL_OMP.search(rest.lower()):
        yield "OpenMP"


def _fortran(text: str) -> Iterator[str]:
    for match in _FORTRAN_MARK.finditer(text):
        if not match[2].strip().lower().startswith("end"):
            yield from _of_directive(match[1], match[2])
    if re.search(r"^\s*attributes\s*\(\s*global", text, re.IGNORECASE | re.MULTILINE):
        yield "CUDA"


def _julia(text: str) -> Iterator[str]:
    bare = re.sub(r"#.*$", "", text, flags=re.MULTILINE)
    yield from (name for name, pattern in _JULIA_NAMES if re.search(pattern, bare))


def _python(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    modules = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    modules |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    known = {
        "numpy": "numpy",
        "scipy": "scipy",
        "cupy": "cuPy",
        "pycuda": "pyCUDA",
        "triton": "Triton",
        "torch": "torch",
    }
    yield from (name for module, name in known.items() if module in modules)
    if "numba" in modules:
        yield from set(_numba(tree)) or ("serial Numba",)


def _numba(tree: ast.AST) -> Iterator[str]:
    """Compiled alone is serial: what makes it parallel is said in a decorator, or by ``prange``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            asked = {k.arg: k.value for k in node.keywords}
            name = ast.unparse(node.func).rsplit(".", 1)[-1]
            parallel = asked.get("parallel")
            target = asked.get("target")
            if name in ("jit", "njit") and isinstance(parallel, ast.Constant) and parallel.value is True:
                yield "Numba"
            if name in ("vectorize", "guvectorize") and isinstance(target, ast.Constant) and target.value == "parallel":
                yield "Numba"
            if name == "prange":
                yield "Numba"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("cuda.jit", "numba.cuda.jit"):
            yield "Numba CUDA"


_FINDERS = {"cpp": _cpp, "fortran": _fortran, "python": _python, "julia": _julia}
__all__ = ["SERIAL", "tags"]
