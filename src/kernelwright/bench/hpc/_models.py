"""What is asked for: six kernels, four languages, their programming models, and the prompts that name them.

Source: Godoy et al., "Evaluation of OpenAI Codex for HPC Parallel Programming Models Kernel Generation" (2023). Its
matrix is the models with ``published``; the others can be built here too and are asked for in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import SuggestionsInvalid

# The kernels as the prompts call them.
KERNELS = {
    "axpy": "saxpy",
    "gemv": "gemv",
    "gemm": "gemm",
    "spmv": "CSR SPMV",
    "jacobi": "3D Jacobi",
    "cg": "Conjugate Gradients",
}
TITLES = dict(zip(KERNELS, ("AXPY", "GEMV", "GEMM", "SpMV", "Jacobi", "CG"), strict=True))
MOST = 10  # suggestions that count, of one prompt


@dataclass(frozen=True)
class Language:
    """How a file of it begins a comment, and the word that asks for a function ("" where none was tried)."""

    name: str
    title: str
    comment: str
    keyword: str
    below: bool = False  # the word stands on a line of its own


@dataclass(frozen=True)
class Model:
    """A programming model of a language. ``published``: one of the paper's matrix."""

    language: str
    name: str
    published: bool = True

    @property
    def key(self) -> str:
        """As folders and ``--only`` call it."""
        return f"{self.language}/{slug(self.name)}"

    @property
    def title(self) -> str:
        return f"{LANGUAGES[self.language].title} {self.name}"


LANGUAGES = {
    "cpp": Language("cpp", "C++", "//", "function"),
    "fortran": Language("fortran", "Fortran", "!", "subroutine", below=True),
    "python": Language("python", "Python", "#", "def", below=True),
    "julia": Language("julia", "Julia", "#", ""),
}
_PUBLISHED = {
    "cpp": ("OpenMP", "OpenMP offload", "OpenACC", "Kokkos", "CUDA", "HIP", "Thrust", "SyCL"),
    "fortran": ("OpenMP", "OpenMP offload", "OpenACC"),
    "python": ("numpy", "Numba", "cuPy", "pyCUDA"),
    "julia": ("Threads", "CUDA", "AMDGPU", "KernelAbstractions"),
}
_MORE = {"cpp": ("threads", "OpenCL"), "python": ("Triton",)}


def slug(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


MODELS = {
    model.key: model
    for language in LANGUAGES
    for names, published in ((_PUBLISHED, True), (_MORE, False))
    for model in (Model(language, name, published) for name in names.get(language, ()))
}


def prompt(kernel: str, model: Model, *, keyword: bool = False) -> str:
    """The comment that asks for a kernel; with ``keyword`` the variant with the language's word for a function.

    >>> prompt("gemm", MODELS["cpp/openmp"], keyword=True)
    '// gemm OpenMP function'

    Raises ``SuggestionsInvalid`` for another kernel, or a variant that the language does not have.
    """
    language = LANGUAGES[model.language]
    text = f"{language.comment} {KERNELS[check_kernel(kernel)]} {model.name}"
    if not keyword:
        return text
    if not language.keyword:
        raise SuggestionsInvalid(f"Prompts for {language.title} have no variant with a keyword.")
    return f"{text}\n{language.keyword}" if language.below else f"{text} {language.keyword}"


def check_kernel(name: str) -> str:
    """The name of a kernel; raises ``SuggestionsInvalid``."""
    if name not in KERNELS:
        raise SuggestionsInvalid(f"{name!r} is no kernel; it must be one of {', '.join(KERNELS)}.")
    return name


@dataclass(frozen=True)
class Cell:
    """One prompt: a kernel in a programming model, with or without the keyword."""

    model: Model
    kernel: str
    keyword: bool = False

    @property
    def key(self) -> str:
        """The folder of its suggestions, such as ``cpp/openmp/gemm`` or ``cpp/openmp/gemm-keyword``."""
        return f"{self.model.key}/{self.kernel}{'-keyword' if self.keyword else ''}"

    @property
    def prompt(self) -> str:
        return prompt(self.kernel, self.model, keyword=self.keyword)


def cells(only: str | None = None) -> list[Cell]:
    """All prompts, or those of ``only``: a comma-separated list of kernels, languages and ``language/model``.

    Kernels narrow models and models narrow kernels. Raises ``SuggestionsInvalid`` for a word that is none of them.
    """
    words = [word.strip().lower() for word in only.split(",") if word.strip()] if only is not None else []
    if only is not None and not words:
        raise SuggestionsInvalid("--only is empty; name kernels, languages or models, such as gemm,cpp/openmp.")
    for word in words:
        if word not in KERNELS and word not in LANGUAGES and word not in MODELS:
            known = ", ".join((*KERNELS, *LANGUAGES, *MODELS))
            raise SuggestionsInvalid(
                f"--only names {word!r}, which is no kernel, language or model; those are {known}."
            )
    kernels = [k for k in KERNELS if k in words] or list(KERNELS)
    named = [m for key, m in MODELS.items() if key in words or m.language in words]
    return list(_cells(named or list(MODELS.values()), kernels))


def _cells(models: list[Model], kernels: list[str]) -> Iterator[Cell]:
    for model in models:
        for kernel in kernels:
            yield Cell(model, kernel)
            if LANGUAGES[model.language].keyword:
                yield Cell(model, kernel, keyword=True)
