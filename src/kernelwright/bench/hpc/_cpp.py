"""C++: finds the function that a suggestion is about, and prints the harness that calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ._extract import nodes
from ._roles import Parameter

_THREAD = "_ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE"
WRAPPED = ("pthread_create", _THREAD)  # what adapt.h counts
_INT = re.compile(r"\b(int|long|short|unsigned|size_t|u?int\d+_t|ptrdiff_t|index_t|idx_t|Index|Int|bool)\b")
_REAL = re.compile(r"\b(float|double|real|Real|real_t|scalar_t|fp_t)\b")
_INDEX_NAME = re.compile(r"I$|Int|Idx|Index|Ord|Off|Size|N$")


@dataclass(frozen=True)
class Function:
    """``call`` is how the harness names it, with template arguments; ``single``: it works on float32."""

    name: str
    call: str
    parameters: tuple[Parameter, ...]
    single: bool = False


def functions(text: str) -> list[Function]:
    """The free functions that a text defines, in its order."""
    return [f for node in nodes(text) if node.type == "function_definition" and (f := _function(node)) is not None]


def harness(text: str, function: Function) -> str:
    """A translation unit with one C entry ``kw_run`` around the suggestion, which stands in it as it is."""
    begin = "\n".join(
        (
            '#include "adapt.h"',
            "#define main kw_suggested_main",
            '#line 1 "suggestion.cpp"',
            text,
            "#undef main",
            "",
        )
    )
    return begin + _ENTRY.replace("@CALL@", function.call)


def adapter() -> str:
    """The header that the harness includes."""
    return (files(__package__) / "adapt.h").read_text(encoding="utf-8")


_ENTRY = """
extern "C" __attribute__((visibility("default")))
long kw_run(int threads, kw_adapt::Slot* slots, kw_adapt::Slot* result, long expected) {
  if (threads > 0) omp_set_num_threads(threads);
  try {
    kw_adapt::call(&@CALL@, slots, result, expected);
  } catch (...) {
    return -1;
  }
  return kw_adapt::started;
}
"""


def _function(node: Any) -> Function | None:
    declarator = _declarator(node)
    name_node = declarator.child_by_field_name("declarator") if declarator is not None else None
    listed = declarator.child_by_field_name("parameters") if declarator is not None else None
    if name_node is None or listed is None or name_node.type != "identifier" or _text(name_node) == "main":
        return None
    scopes, generic = _scopes(node)
    if scopes is None:
        return None
    shapes = [p for p in listed.named_children if p.type in ("parameter_declaration", "optional_parameter_declaration")]
    parameters = tuple(_parameter(p, generic) for p in shapes)
    call = "::".join((*scopes, _text(name_node)))
    if generic:
        call += f"<{', '.join('int' if _INDEX_NAME.search(name) else 'double' for name in generic)}>"
    single = any(p.base == "real" and "float" in _text(s) for p, s in zip(parameters, shapes, strict=True))
    return Function(_text(name_node), call, parameters, single or "float" in _text(node).split("{")[0].split("(")[0])


def _declarator(node: Any) -> Any:
    """The node that holds name and parameters, under what a returned pointer or reference puts round it."""
    found = node.child_by_field_name("declarator")
    while found is not None and found.type != "function_declarator":
        inner = found.child_by_field_name("declarator")
        found = inner if inner is not None else next((c for c in found.named_children if "declarator" in c.type), None)
    return found


def _scopes(node: Any) -> tuple[list[str] | None, list[str]]:
    """Namespaces round a function (None: it is a member), and the names of its template's types."""
    scopes: list[str] = []
    generic: list[str] = []
    above = node.parent
    while above is not None:
        if above.type in ("class_specifier", "struct_specifier"):
            return None, []
        if above.type == "namespace_definition" and above.child_by_field_name("name") is not None:
            scopes.insert(0, _text(above.child_by_field_name("name")))
        if above.type == "template_declaration":
            listed = above.child_by_field_name("parameters")
            generic = [_text(c).split()[-1] for c in listed.named_children if c.type == "type_parameter_declaration"]
        above = above.parent
    return scopes, generic


def _parameter(node: Any, generic: list[str]) -> Parameter:
    kind = _text(node.child_by_field_name("type"))
    declarator = node.child_by_field_name("declarator")
    shape = _text(declarator) if declarator is not None else ""
    name = next(
        iter(re.findall(r"[A-Za-z_]\w*", re.sub(r"\b(const|__restrict__|__restrict|restrict)\b", " ", shape))), ""
    )
    rank = kind.count("vector<") + kind.count("span<") + shape.count("*") + shape.count("[")
    base = "int" if _INT.search(kind) else "real" if _REAL.search(kind) else "any"
    if base == "any" and generic and any(re.search(rf"\b{name}\b", kind) for name in generic):
        named = next(g for g in generic if re.search(rf"\b{g}\b", kind))
        base = "int" if _INDEX_NAME.search(named) else "real"
    known = base != "any" or rank
    return Parameter(name, base, rank if known else None)


def _text(node: Any) -> str:
    return node.text.decode(errors="replace") if node is not None else ""


__all__ = ["WRAPPED", "Function", "adapter", "functions", "harness"]
