"""What is read off a suggestion's text: code, language, programming model, parameters."""

from __future__ import annotations

import pytest

from kernelwright.bench.hpc import _cpp, _fortran, _python
from kernelwright.bench.hpc._extract import extract
from kernelwright.bench.hpc._roles import bind
from kernelwright.bench.hpc._tags import tags
from kernelwright.bench.hpc._trial import PROBLEMS

LOOP = "void f(int n, float a, float* x, float* y) {\n%s\nfor (int i = 0; i < n; i++) y[i] += a * x[i];\n}\n"


@pytest.mark.parametrize(
    "text",
    ["", "   \n", "// only a comment\n/* and another */\n", "I am sorry, but I cannot help with that.", "```\n\n```",
     "The kernel computes y, that is all; ask again", "! saxpy\n! in Fortran\n", "# nothing\n"],
)  # fmt: skip
def test_prose_and_comments_are_no_code(text: str) -> None:
    assert extract(text, "cpp") is None
    assert extract(text, "python") is None


@pytest.mark.parametrize(
    ("text", "wanted", "language"),
    [
        (LOOP % "", "cpp", "cpp"),
        ("Here it is:\n```cpp\n" + LOOP % "" + "```\nEnjoy; it is fast.", "cpp", "cpp"),
        ("```python\ndef f(x):\n    return x\n```", "cpp", "python"),
        ("def f(a, x, y):\n    return a * x + y\n", "python", "python"),
        ("subroutine f(n)\n  integer n\nend subroutine\n", "cpp", "fortran"),
        ("function f!(y)\n  Threads.@threads for i in 1:3\n  end\nend\n", "julia", "julia"),
    ],
)
def test_the_language_is_found(text: str, wanted: str, language: str) -> None:
    code = extract(text, wanted)
    assert code is not None
    assert code.language == language
    assert "Enjoy" not in code.text


def test_two_texts_that_differ_in_comments_are_one() -> None:
    one, other = extract(LOOP % "// fast", "cpp"), extract(LOOP % "/* slow */\n\n", "cpp")
    assert one is not None
    assert other is not None
    assert one.bare == other.bare


@pytest.mark.parametrize(
    ("text", "language", "models"),
    [
        (LOOP % "#pragma omp parallel for", "cpp", {"OpenMP"}),
        (LOOP % "#pragma omp parallel \\\n  for", "cpp", {"OpenMP"}),
        (LOOP % "// #pragma omp parallel for", "cpp", {"serial"}),
        (LOOP % '  const char* s = "#pragma omp parallel for";', "cpp", {"serial"}),
        (LOOP % "#pragma omp simd", "cpp", {"serial"}),
        (LOOP % "#pragma omp target teams distribute parallel for", "cpp", {"OpenMP offload"}),
        (LOOP % "#pragma acc parallel loop", "cpp", {"OpenACC"}),
        (LOOP % "Kokkos::fence();", "cpp", {"Kokkos"}),
        (LOOP % "std::thread t;", "cpp", {"threads"}),
        (LOOP % "#pragma omp parallel for\ncudaFree(0);", "cpp", {"OpenMP", "CUDA"}),
        ("__global__ void f(float* y) { y[threadIdx.x] = 0; }", "cpp", {"CUDA"}),
        ("#include <hip/hip_runtime.h>\n__global__ void f(float* y) { y[0] = 0; }", "cpp", {"HIP"}),
        ("#include <thrust/transform.h>\nvoid f() { thrust::device_vector<float> v; }", "cpp", {"Thrust"}),
        ("void f(sycl::queue& q) { q.wait(); }", "cpp", {"SyCL"}),
        ("subroutine f(n)\n!$omp parallel do\ndo i = 1, n\nend do\nend subroutine", "fortran", {"OpenMP"}),
        ("subroutine f(n)\n! $omp parallel do\ndo i = 1, n\nend do\nend subroutine", "fortran", {"serial"}),
        ("subroutine f(n)\n!$acc kernels\ndo i = 1, n\nend do\nend subroutine", "fortran", {"OpenACC"}),
        ("import numpy as np\ndef f(x):\n    return np.sum(x)", "python", {"numpy"}),
        ("from numba import njit, prange\n@njit(parallel=True)\ndef f(x):\n    return x", "python", {"Numba"}),
        ("from numba import njit\nimport numpy as np\n@njit\ndef f(x):\n    return x", "python", {"serial Numba"}),
        ("import cupy as cp\ndef f(x):\n    return cp.sum(x)", "python", {"cuPy"}),
        ("import pycuda.autoinit\ndef f(x):\n    return x", "python", {"pyCUDA"}),
        ("def f(x):\n    return x", "python", {"serial"}),
        ("function f!(y)\n  Threads.@threads for i in 1:3\n  end\nend", "julia", {"Threads"}),
        ("using CUDA\nfunction f!(y)\n  @cuda g(y)\nend", "julia", {"CUDA"}),
        ("using KernelAbstractions\n@kernel function f!(y)\nend", "julia", {"KernelAbstractions"}),
    ],
)  # fmt: skip
def test_the_programming_model_is_found(text: str, language: str, models: set[str]) -> None:
    code = extract(text, language)
    assert code is not None
    assert code.language == language
    assert tags(code) == models


VECTORS = "(const std::vector<std::vector<double>>& A, const std::vector<double>& x, std::vector<double>& y)"
LEADING = "(int M, int N, int K, double* A, int lda, double* B, int ldb, double* C, int ldc)"


@pytest.mark.parametrize(
    ("kernel", "signature", "roles"),
    [
        ("axpy", "(int n, float a, float* x, float* y)", "n a x y"),
        ("axpy", "(float* y, const float* x, float alpha, size_t size)", "y x a n"),
        ("axpy", "(int N, float s, float* u, float* v, float* result)", "n a x y out"),
        ("axpy", "(int n, float sa, const float* sx, int incx, float* sy, int incy)", "n a x incx y incy"),
        ("gemv", VECTORS, "A x y"),
        ("gemv", "(int rows, int cols, double p, double* a, double* b, double q, double* c)", "m n alpha A x beta y"),
        ("gemm", LEADING, "m n k A lda B ldb C ldc"),
        ("gemm", "(double **a, double **b, double **c, int n)", "A B C n"),
        ("spmv", "(int n, int* row_ptr, int* col_ind, double* v, double* x, double* y)", "m row_ptr col_idx val x y"),
        ("spmv", "(int rows, int cols, int* ia, int* ja, double* a, double* x, double* y)",
         "m cols row_ptr col_idx val x y"),
        ("jacobi", "(double* u, double* u_new, int nx, int ny, int nz, int iters)", "u next nx ny nz steps"),
        ("cg", "(double* A, double* b, double* x, int n, double tol, int max_iter)", "A b x n tol steps"),
    ],
)  # fmt: skip
def test_parameters_are_understood(kernel: str, signature: str, roles: str) -> None:
    (function,) = _cpp.functions(f"void f{signature} {{}}")
    problem = PROBLEMS[kernel]
    assert bind(function.parameters, problem.roles, set().union(*problem.needs)) == tuple(roles.split())


def test_a_parameter_that_means_nothing_is_named() -> None:
    (function,) = _cpp.functions("void f(int n, float a, float* x, float* y, char* name, Plan& plan) {}")
    said = bind(function.parameters, PROBLEMS["axpy"].roles, {"a", "x", "y"})
    assert isinstance(said, str)
    assert "'name'" in said or "'plan'" in said


def test_members_and_main_are_no_functions_to_call() -> None:
    text = "struct S { void f(int n) {} };\nint main() { return 0; }\n"
    text += "namespace k { template <class T> T* g(T a) { return 0; } }"
    (function,) = _cpp.functions(text)
    assert function.call == "k::g<double>"


def test_fortran_declarations_are_read() -> None:
    (found,) = _fortran.subroutines(
        "subroutine f(m, a, b, &\n   c, z)\n integer, intent(in) :: m ! rows\n"
        " real(8), dimension(m, m), intent(in) :: a\n"
        " real*4 b(m)\n integer(kind=8), intent(in) :: c(:)\nend subroutine f\n"
    )
    assert [(p.name, p.base, p.rank) for p in found.parameters] == [
        ("m", "int", 0), ("a", "real", 2), ("b", "real", 1), ("c", "int", 1), ("z", "real", 0),
    ]  # fmt: skip
    assert found.dtypes == ("int32", "float64", "float32", "int64", "float32")


def test_only_definitions_of_a_module_are_kept() -> None:
    text = "import numpy as np\nN = 3\nx = np.zeros(9)\ndef f(x):\n    return x\nprint(f(x))\n"
    assert _python.without_main(text) == "import numpy as np\nN = 3\n\ndef f(x):\n    return x"
    assert isinstance(_python.defs("def f(:"), str)
