"""The code in somebody's text: fenced blocks, or the whole of it, and the language it is written in."""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from typing import Any

LIMIT = 200_000  # characters of a suggestion that are looked at

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_NAMED = {
    "cpp": ("c", "cc", "c++", "cpp", "cxx", "h", "hpp", "cuda", "cu", "hip", "opencl", "sycl"),
    "fortran": ("f", "f77", "f90", "f95", "f03", "f08", "fortran"),
    "python": ("py", "py3", "python", "python3"),
    "julia": ("jl", "julia"),
}
_LANGUAGE = {fence: language for language, fences in _NAMED.items() for fence in fences}
_FORTRAN = re.compile(
    r"^\s*(subroutine|program|module|end\s*do|end\s*subroutine|implicit\s+none|(real|integer|double precision)\b.*::"
    r"|call\s+\w+\s*\(|do\s+\w+\s*=\s*\S+\s*,|(pure |elemental |recursive )*(real|integer)?\s*function\s+\w+)",
    re.IGNORECASE | re.MULTILINE,
)
_PYTHON = re.compile(
    r"^(\s*def \w+\s*\(.*|import \w+|from [\w.]+ import .*|@\w+.*|\s*for \w+ in .*:\s*)$", re.MULTILINE
)
_JULIA = re.compile(
    r"^\s*(function \w+[!]?\s*\(|using \w+|Threads\.@threads|@kernel |@threads |@inbounds )", re.MULTILINE
)
_CPP = re.compile(r"[;{}]\s*$|^\s*#\s*(include|pragma|define)\b", re.MULTILINE)
_CPP_CODE = {
    "function_definition", "for_statement", "while_statement", "assignment_expression", "call_expression",
    "preproc_include", "update_expression", "if_statement",
}  # fmt: skip


@dataclass(frozen=True)
class Code:
    """A piece of code; ``bare`` is without comments and white space, by which two are the same."""

    text: str
    language: str
    bare: str


def extract(text: str, wanted: str) -> Code | None:
    """The code of a suggestion, that of the language ``wanted`` first; None where there is none."""
    text = text[:LIMIT].replace("\r\n", "\n").replace("\0", "")
    fenced = [(_LANGUAGE.get(m[2].lower(), ""), m[3]) for m in _FENCE.finditer(text)]
    pieces = [(named or language_of(piece, wanted), piece) for named, piece in fenced or [("", text)]]
    pieces = [(language, piece) for language, piece in pieces if language and strip(piece, language)]
    mine = [piece for language, piece in pieces if language == wanted]
    if mine:
        return _code(_joined(mine, wanted), wanted)
    if not pieces:
        return None
    language, piece = max(pieces, key=lambda pair: len(pair[1]))
    return _code(piece, language)


def language_of(text: str, wanted: str = "") -> str:
    """The language of a piece of code, "" where it is none. What could be two is the one ``wanted``."""
    found = [language for language, looks in _LOOKS.items() if looks(text)]
    return wanted if wanted in found else next(iter(found), "")


def strip(text: str, language: str) -> str:
    """Without comments and white space; "" where nothing is left."""
    if language == "cpp":
        text = _without_nodes(text, ("comment",))
    elif language == "fortran":  # directives are comments to those who do not know them, and code here
        text = re.sub(r"^[cC*](?!\$)\b.*$|!(?!\$).*$", "", text, flags=re.MULTILINE)
    else:
        text = re.sub(r"#.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\s+", " ", text).strip()


@functools.cache
def parser() -> Any:
    """tree-sitter's for C++."""
    import tree_sitter
    import tree_sitter_cpp

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_cpp.language()))


def nodes(text: str) -> list[Any]:
    """All nodes of a C++ text, in the order in which they begin."""
    found, left = [], [parser().parse(text.encode()).root_node]
    while left:
        node = left.pop()
        found.append(node)
        left.extend(reversed(node.children))
    return found


def _without_nodes(text: str, kinds: tuple[str, ...]) -> str:
    data = text.encode()
    for node in reversed(nodes(text)):
        if node.type in kinds:
            data = data[: node.start_byte] + b" " + data[node.end_byte :]
    return data.decode(errors="replace")


def _code(text: str, language: str) -> Code:
    return Code(text, language, strip(text, language))


def _joined(pieces: list[str], language: str) -> str:
    """Blocks that belong together in one text; of several versions of one function the first."""
    kept: list[str] = []
    names = set[str]()
    for piece in pieces:
        own = set(re.findall(r"\b(\w+)\s*\([^;{)]*\)\s*\{|\bdef\s+(\w+)|\bsubroutine\s+(\w+)", piece, re.IGNORECASE))
        defined = {name for group in own for name in group if name and name not in ("for", "if", "while", "switch")}
        if kept and (defined & names or not defined):
            continue
        kept.append(piece)
        names |= defined
    return "\n".join(kept)


def _is_python(text: str) -> bool:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _PYTHON.search(text) is not None
    plain = (ast.FunctionDef, ast.Assign, ast.AugAssign, ast.Import, ast.ImportFrom, ast.For, ast.ClassDef, ast.With)
    return any(
        isinstance(node, plain) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) for node in body
    )


def _is_cpp(text: str) -> bool:
    if not _CPP.search(_without_nodes(text, ("comment",))):
        return False
    return any(node.type in _CPP_CODE or node.type.startswith("preproc_c") for node in nodes(text))


_LOOKS = {
    "fortran": lambda text: _FORTRAN.search(text) is not None,
    "cpp": _is_cpp,
    "julia": lambda text: _JULIA.search(text) is not None,
    "python": _is_python,
}
__all__ = ["LIMIT", "Code", "extract", "language_of", "nodes", "strip"]
