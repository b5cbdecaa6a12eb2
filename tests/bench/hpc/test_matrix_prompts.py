"""The prompts, letter by letter, and which of them ``--only`` means."""

from __future__ import annotations

import pytest

from kernelwright.bench.hpc import KERNELS, MODELS, cells, prompt
from kernelwright.errors import SuggestionsInvalid


def test_the_published_matrix_has_204_prompts() -> None:
    published = [cell for cell in cells() if cell.model.published]
    assert len({cell.prompt + cell.model.language for cell in published}) == 204
    assert len({cell.model.key for cell in published}) * len(KERNELS) == 114


@pytest.mark.parametrize(
    ("model", "kernel", "keyword", "text"),
    [
        ("cpp/openmp", "axpy", False, "// saxpy OpenMP"),
        ("cpp/openmp-offload", "gemm", True, "// gemm OpenMP offload function"),
        ("cpp/sycl", "spmv", False, "// CSR SPMV SyCL"),
        ("fortran/openacc", "jacobi", True, "! 3D Jacobi OpenACC\nsubroutine"),
        ("python/numba", "cg", True, "# Conjugate Gradients Numba\ndef"),
        ("python/cupy", "gemv", False, "# gemv cuPy"),
        ("julia/kernelabstractions", "gemv", False, "# gemv KernelAbstractions"),
    ],
)
def test_prompts_are_those_of_the_paper(model: str, kernel: str, keyword: bool, text: str) -> None:
    assert prompt(kernel, MODELS[model], keyword=keyword) == text


def test_only_narrows_by_kernel_and_by_model() -> None:
    assert {cell.kernel for cell in cells("gemm,cg")} == {"gemm", "cg"}
    assert {cell.key for cell in cells("gemm,cpp/openmp")} == {"cpp/openmp/gemm", "cpp/openmp/gemm-keyword"}
    assert {cell.model.language for cell in cells("julia")} == {"julia"}


@pytest.mark.parametrize("only", ["", " , ", "gem", "cpp/tbb"])
def test_only_says_what_is_wrong(only: str) -> None:
    with pytest.raises(SuggestionsInvalid, match="--only"):
        cells(only)


def test_what_has_no_prompt_says_so() -> None:
    with pytest.raises(SuggestionsInvalid, match="no kernel"):
        prompt("fft", MODELS["cpp/openmp"])
    with pytest.raises(SuggestionsInvalid, match="no variant"):
        prompt("gemm", MODELS["julia/threads"], keyword=True)
