"""Fortran: finds the subroutine that a suggestion is about, and prints the harness that calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._roles import Parameter

_SUBROUTINE = re.compile(
    r"^[ \t]*(?:(?:pure|elemental|recursive)\s+)*subroutine\s+(\w+)\s*\(([^)]*)\)(.*?)"
    r"^[ \t]*end[ \t]*(?:subroutine\b[^\n]*)?$",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_PROGRAM = re.compile(r"^\s*program\b.*?^\s*end\s*program\b[^\n]*$", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_MODULE = re.compile(r"^\s*module\s+(?!procedure\b)(\w+)\s*$", re.IGNORECASE | re.MULTILINE)
_DECLARED = re.compile(
    r"^[ \t]*(double\s+precision|real|integer)\s*(\*\s*\d+|\([^)]*(?:\([^)]*\))?[^)]*\))?"
    r"(?:((?:\s*,(?:[^:\n]|:(?!:))*?)?)\s*::|[ \t](?!.*::))(?!\s*function)(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_NAME = re.compile(r"(\w+)\s*(?:\(((?:[^()]|\([^()]*\))*)\))?")
_SINGLE = re.compile(r"\b(4|sp|real32|c_float|single)\b", re.IGNORECASE)
_LONG = re.compile(r"\b(8|int64|c_long|c_size_t|i8|ip)\b", re.IGNORECASE)
_TYPES = {
    "float32": "real(c_float)",
    "float64": "real(c_double)",
    "int32": "integer(c_int)",
    "int64": "integer(c_int64_t)",
}


@dataclass(frozen=True)
class Subroutine:
    """A subroutine; ``dtypes`` are NumPy's names of its parameters' types."""

    name: str
    parameters: tuple[Parameter, ...]
    dtypes: tuple[str, ...]

    @property
    def single(self) -> bool:
        return "float32" in self.dtypes


def subroutines(text: str) -> list[Subroutine]:
    """Those that a text defines, in its order."""
    joined = _join(text)
    return [_subroutine(m[1], m[2], m[3]) for m in _SUBROUTINE.finditer(joined)]


def harness(text: str, chosen: Subroutine) -> str:
    """A file with the suggestion in a module and one C entry ``kw_run`` (threads, pointers, shapes)."""
    body = _PROGRAM.sub("", text)
    module = _MODULE.search(body)
    name = module[1] if module else "kw_suggested"
    if module is None:
        body = f"module {name}\ncontains\n{body}\nend module {name}\n"
    count = len(chosen.parameters)
    lines = [
        "subroutine kw_run(threads, pointers, shapes) bind(c, name='kw_run')",
        "  use iso_c_binding",
        "  use omp_lib, only: omp_set_num_threads",
        f"  use {name}, only: kw_called => {chosen.name}",
        "  implicit none",
        "  integer(c_int), value :: threads",
        f"  type(c_ptr), intent(in) :: pointers({max(count, 1)})",
        f"  integer(c_int64_t), intent(in) :: shapes(3, {max(count, 1)})",
    ]
    for index, (parameter, dtype) in enumerate(zip(chosen.parameters, chosen.dtypes, strict=True), 1):
        shape = f"({','.join(':' * parameter.rank)})" if parameter.rank else ""
        lines.append(f"  {_TYPES[dtype]}, pointer :: p{index}{shape}")
    lines.append("  call omp_set_num_threads(threads)")
    for index, parameter in enumerate(chosen.parameters, 1):
        sizes = ", ".join(f"shapes({d + 1},{index})" for d in range(parameter.rank or 0))
        lines.append(f"  call c_f_pointer(pointers({index}), p{index}{f', [{sizes}]' if sizes else ''})")
    arguments = ", ".join(f"p{index}" for index in range(1, count + 1))
    return "\n".join([body, *lines, f"  call kw_called({arguments})", "end subroutine kw_run", ""])


def _join(text: str) -> str:
    """Continued statements in one line, without comments."""
    bare = re.sub(r"!(?!\$).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"&[ \t]*\n[ \t]*&?", " ", bare)


def _subroutine(name: str, listed: str, body: str) -> Subroutine:
    declared: dict[str, tuple[str, str, int]] = {}
    for match in _DECLARED.finditer(body):
        base = "int" if match[1].lower() == "integer" else "real"
        dtype = _dtype(match[1], match[2] or "")
        common = re.search(r"dimension\s*\(((?:[^()]|\([^()]*\))*)\)", match[3] or "", re.IGNORECASE)
        for entry in _NAME.finditer(match[4].split("=")[0] if "parameter" in (match[3] or "").lower() else match[4]):
            shape = entry[2] if entry[2] is not None else (common[1] if common else None)
            declared.setdefault(entry[1].lower(), (base, dtype, _rank(shape)))
    parameters, dtypes = [], []
    for word in (w.strip() for w in listed.split(",") if w.strip()):
        whole = word[0].lower() in "ijklmn"  # Fortran's own rule for what is not declared
        base, dtype, rank = declared.get(word.lower(), ("int" if whole else "real", "int32" if whole else "float32", 0))
        parameters.append(Parameter(word, base, rank))
        dtypes.append(dtype)
    return Subroutine(name, tuple(parameters), tuple(dtypes))


def _dtype(kind: str, size: str) -> str:
    if kind.lower() == "integer":
        return "int64" if _LONG.search(size) else "int32"
    if kind.lower() == "real":
        return "float32" if not size or _SINGLE.search(size) else "float64"
    return "float64"


def _rank(shape: str | None) -> int:
    """Commas outside parentheses, and one."""
    if shape is None:
        return 0
    return re.sub(r"\([^()]*\)", "", shape).count(",") + 1


__all__ = ["Subroutine", "harness", "subroutines"]
