"""Suggestions that are built and run: right, wrong, in another model, in no language at all, and hostile."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernelwright.bench.hpc import KERNELS, MODELS, Box, Cell, Generator, Proficiency, cells, generated, grade
from kernelwright.bench.hpc import _box as box_module
from kernelwright.errors import WallsMissing
from kernelwright.judge import stand

if stand().missing:
    pytest.skip("the walls do not stand on this machine", allow_module_level=True)

LOOP = """{include}
void saxpy(int n, float a, const float* x, float* y) {{
  {before}
#pragma omp parallel for
  for (int i = 0; i < {end}; i++) y[i] {op} a * x[i];
}}
"""


def saxpy(include: str = "", before: str = "", end: str = "n", op: str = "+=") -> str:
    return LOOP.format(include=include, before=before, end=end, op=op)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        with Box(seconds=5.0) as made:
            yield made


def graded(box: Box, model: str, kernel: str, *texts: str) -> Proficiency:
    return grade(texts, Cell(MODELS[model], kernel), box)


def kinds(found: Proficiency) -> list[str]:
    return [outcome.kind for outcome in found.outcomes]


def test_levels_of_real_sets(box: Box) -> None:
    right, wrong, serial = saxpy(), saxpy(op="="), saxpy().replace("#pragma omp parallel for", "")
    also = "```cpp\n" + saxpy(include="#include <vector>") + "```"
    for texts, level in (
        ((right,), "expert"),
        ((right, right + "// the same again\n"), "expert"),
        ((right, also), "proficient"),
        ((right, wrong), "learner"),
        ((right, wrong, serial), "novice"),
        ((serial,), "non-knowledge"),
        (("// saxpy OpenMP\n", "I would rather not."), "non-knowledge"),
        ((), "non-knowledge"),
    ):
        assert graded(box, "cpp/openmp", "axpy", *texts).level == level


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (saxpy(end="n / 4 * 4"), "instead of"),
        (saxpy(end="n - 1"), "instead of"),
        (saxpy().replace("a * x[i];", "a * x[i]"), "does not compile"),
        (saxpy(before="if (n == 1) *(volatile int*)0 = 1;"), "SIGSEGV"),
        (saxpy("#include <stdlib.h>", "exit(0);"), "exit code 0"),
        (saxpy("#include <sys/socket.h>", "socket(AF_INET, SOCK_STREAM, 0);"), "the walls forbid"),
        (
            "int main() {\n  int s = 0;\n#pragma omp parallel for\n  for (int i = 0; i < 9; i++) s += i;\n}",
            "no function",
        ),
        (saxpy().replace("float a,", "float a, Plan* plan,"), "'plan'"),
    ],
)
def test_wrong_ones_are_told_why(box: Box, text: str, reason: str) -> None:
    (outcome,) = graded(box, "cpp/openmp", "axpy", text).outcomes
    assert outcome.kind == "wrong"
    assert reason in outcome.reason


def test_what_hangs_is_ended_and_what_forks_stays_alone(box: Box) -> None:
    text = saxpy("#include <unistd.h>", "if (fork() == 0) _exit(0); else if (n == 1) for (;;);")
    (outcome,) = grade([text], Cell(MODELS["cpp/openmp"], "axpy"), box).outcomes
    assert outcome.kind == "wrong"
    assert "did not finish" in outcome.reason


def test_a_file_of_ours_is_not_written(box: Box, tmp_path: Path) -> None:
    text = saxpy("#include <fstream>", f'std::ofstream("{tmp_path}/mark") << 1;')
    assert kinds(graded(box, "cpp/openmp", "axpy", text)) == ["right"]
    assert not (tmp_path / "mark").exists()


def test_a_directive_that_nobody_reaches_is_serial(box: Box) -> None:
    text = saxpy(before="if (n > 0) { for (int i = 0; i < n; i++) y[i] += a * x[i]; return; }")
    assert kinds(graded(box, "cpp/openmp", "axpy", text)) == ["other"]


def test_a_race_is_wrong_though_each_line_is_right(box: Box) -> None:
    # The sleep lets the other threads in however busy the machine is.
    head = """#include <unistd.h>
void gemv(const double* A, const double* x, double* y, int m, int n) {{
  double s;
#pragma omp parallel for {private}
  for (int i = 0; i < m; i++) {{
    s = 0;
    for (int j = 0; j < n; j++) s += A[i * n + j] * x[j];
    usleep(20);
    y[i] = s;
  }}
}}"""
    found = graded(box, "cpp/openmp", "gemv", head.format(private=""), head.format(private="private(s)"))
    assert kinds(found) == ["wrong", "right"]


def test_signatures_of_every_sort(box: Box) -> None:
    nested = """#include <vector>
template <typename T>
std::vector<T> matvec(const std::vector<std::vector<T>>& A, const std::vector<T>& x) {
  std::vector<T> y(A.size());
#pragma omp parallel for
  for (size_t i = 0; i < A.size(); i++) for (size_t j = 0; j < x.size(); j++) y[i] += A[i][j] * x[j];
  return y;
}"""
    columns = """void gemv(int m, int n, float alpha, const float* a, int lda, const float* x, float beta, float* y) {
#pragma omp parallel for
  for (int i = 0; i < m; i++) { float s = 0; for (int j = 0; j < n; j++) s += a[i + j * lda] * x[j];
    y[i] = alpha * s + beta * y[i]; }
}"""
    assert kinds(graded(box, "cpp/openmp", "gemv", nested, columns)) == ["right", "right"]


def test_other_models_that_run_here(box: Box) -> None:
    threads = """#include <thread>
void saxpy(long n, float a, const float* x, float* y) {
  std::thread other([=] { for (long i = 0; i < n / 2; i++) y[i] += a * x[i]; });
  for (long i = n / 2; i < n; i++) y[i] += a * x[i];
  other.join();
}"""
    assert graded(box, "cpp/threads", "axpy", threads).level == "expert"
    openacc = saxpy().replace("omp parallel for", "acc parallel loop copyin(x[0:n]) copy(y[0:n])")
    found = graded(box, "cpp/openacc", "axpy", openacc, saxpy())
    assert (found.level, kinds(found)) == ("novice", ["right", "other"])
    assert "host" in found.note


@pytest.mark.skipif(shutil.which("gfortran") is None, reason="gfortran is not installed")
def test_fortran(box: Box) -> None:
    spmv = """subroutine spmv(n, row_ptr, col_idx, val, x, y)
  integer, intent(in) :: n, row_ptr(n + 1), col_idx(*)
  real(8), intent(in) :: val(*), x(n)
  real(8), intent(out) :: y(n)
  integer :: i, j
  !$omp parallel do private(j)
  do i = 1, n
    y(i) = 0.0d0
    do j = row_ptr(i), row_ptr(i + 1) - {last}
      y(i) = y(i) + val(j) * x(col_idx(j))
    end do
  end do
end subroutine spmv
"""
    assert kinds(graded(box, "fortran/openmp", "spmv", spmv.format(last=1), spmv.format(last=2))) == ["right", "wrong"]


NUMPY_CG = """import numpy as np

def conjugate_gradient(A, b, x0=None, tol=1e-8, max_iter=None):
    x = np.zeros_like(b)
    r = b - A @ x
    p = r.copy()
    rs = r @ r
    for _ in range(max_iter or 10 * len(b)):
        Ap = A @ p
        alpha = rs / (p @ Ap)
        x = x + alpha * p
        r = r - alpha * Ap
        new = r @ r
        if np.sqrt(new) < tol:
            break
        p = r + {beta} * p
        rs = new
    return x

if __name__ == "__main__":
    raise SystemExit("never run")
"""


def test_numpy(box: Box) -> None:
    good, bad = NUMPY_CG.format(beta="new / rs"), NUMPY_CG.format(beta="rs / new")
    raising = "import numpy as np\ndef cg(A, b, x):\n    raise ValueError(np.zeros(1))\n"
    found = graded(box, "python/numpy", "cg", good, bad, raising, "def cg(A, b, x:\n    return x\n")
    assert kinds(found) == ["right", "wrong", "wrong", "other"]
    assert "ValueError" in found.outcomes[2].reason


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
def test_numba(box: Box) -> None:
    text = """from numba import njit, prange

@njit(parallel=True)
def saxpy(n, a, x, y):
    for i in prange(n):
        y[i] += a * x[i]
"""
    found = graded(
        box, "python/numba", "axpy", text, text.replace("(parallel=True)", "").replace("prange(n)", "range(n)")
    )
    assert kinds(found) == ["right", "other"]


def test_what_cannot_run_here_is_recognised_and_not_graded(box: Box) -> None:
    julia = "function axpy!(a, x, y)\n  Threads.@threads for i in eachindex(x)\n    y[i] += a * x[i]\n  end\nend\n"
    found = graded(box, "julia/threads", "axpy", julia, "# nothing", saxpy())
    assert (found.score, found.level, kinds(found)) == (None, "not run", ["unrun", "none", "other"])
    assert "not runnable here" in found.note


@pytest.mark.parametrize("kernel", KERNELS)
def test_our_own_are_experts(box: Box, kernel: str) -> None:
    cell = Cell(MODELS["cpp/openmp"], kernel)
    said = Generator().suggestions(cell)
    assert said is not None
    found = grade(said, cell, box)
    assert found.score == 1.0, found.outcomes


def test_our_own_are_of_one_model_and_both_precisions() -> None:
    assert [c.key for c in cells("axpy") if Generator().suggestions(c)] == ["cpp/openmp/axpy"]
    for kernel in KERNELS:
        assert "float" in generated(kernel, "float32")
        assert "#pragma omp" in generated(kernel)


def test_without_walls_nothing_runs(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    class Open(box_module.Worker):
        def wait(self) -> None:
            super().wait()
            self.standing = None

    monkeypatch.setattr(box_module, "Worker", Open)
    text = "import numpy as np\ndef axpy(a, x, y):\n    return a * x + np.asarray(y)\n"
    with Box() as other, pytest.raises(WallsMissing):
        graded(other, "python/numpy", "axpy", text)
    with Box(unsafe=True) as other:
        assert graded(other, "python/numpy", "axpy", text).score == 1.0


TRITON = """import torch
import triton
import triton.language as tl

@triton.jit
def axpy_kernel(x, y, a, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    tl.store(y + i, a * tl.load(x + i, mask=mask) + tl.load(y + i, mask=mask), mask=mask)

def axpy(a, x, y):
    axpy_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, a, x.numel(), BLOCK=1024)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_triton_is_interpreted(box: Box) -> None:
    found = graded(box, "python/triton", "axpy", TRITON, TRITON.replace("i < n", "i < n - 1"))
    assert kinds(found) == ["right", "wrong"]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_cuda_that_does_not_compile_is_wrong_and_nothing_is_scored(box: Box) -> None:
    found = graded(box, "cpp/cuda", "axpy", "__global__ void axpy(int n, flot a) {}")
    assert (kinds(found), found.score) == (["wrong"], None)
    assert "does not compile" in found.outcomes[0].reason
