"""Is it really Triton? The rule half of the reward: a kernel is launched, computes, and nobody else does.

A learner finds whatever a reward lets through (arXiv 2507.05687, ablation of the rule reward): programs that call
PyTorch are right, short and easy. Reading tells them apart without running them; nothing here is run.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ...judge import read_labels
from ...targets import Candidate
from ._host import Host
from ._kernels import Kernel, find_kernels
from ._names import Names

_COMPUTED = ("runs computed code", "intercepts calls of torch", "defines a tensor subclass", "loads native code")


@dataclass(frozen=True)
class RuleReport:
    """``ok``, or the ``violations``, one sentence each."""

    ok: bool
    violations: tuple[str, ...]


@dataclass(frozen=True)
class TritonRules:
    """The rules: parses; a ``@triton.jit`` function that loads and stores is launched from the entry; host code on the
    way allocates, views and computes sizes alone; what is returned was written by a launched kernel.

    >>> TritonRules().check("import torch\\ndef run(x):\\n    return torch.relu(x)", "run").ok
    False
    """

    def check(self, source: str, entry: str) -> RuleReport:
        """Read a Python text; ``entry``: the function, or the class with ``forward``, that will be called."""
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return RuleReport(False, (f"it is no Python source: {type(error).__name__}",))
        try:
            found = tuple(_violations(source, tree, entry))
        except RecursionError:
            found = ("it is nested too deeply to be read",)
        return RuleReport(not found, found)


def _violations(source: str, tree: ast.Module, entry: str) -> list[str]:
    names = Names(tree)
    kernels = find_kernels(tree, names)
    found = [
        f"{label.name}: {label.detail}"
        for label in read_labels(Candidate("python", "model", source, None))
        if label.forbidden or label.name in _COMPUTED
    ]
    found += _hidden(tree, names)
    if not kernels:
        return [*found, "no function is decorated with triton.jit"]
    host = Host(tree, names, kernels)
    written = host.enter(entry)
    if written is None:
        return [*found, f"there is no function or class with forward named {entry}"]
    found += host.violations
    if not host.launched:
        return [*found, "no kernel is launched from the entry"]
    if not any(_works(kernels[name]) for name in host.launched):
        found.append("no launched kernel loads and stores")
    if not written:
        found.append("what is returned was not written by a launched kernel")
    return found


def _works(kernel: Kernel) -> bool:
    return kernel.reads and bool(kernel.written)


def _hidden(tree: ast.Module, names: Names) -> list[str]:
    """Ways to torch that name no operation: computed attributes, torch.compile, torch.ops."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            path = names.path(node)
            if path in ("torch.compile", "torch.jit.script", "torch.jit.trace"):
                found.append(f"calls {path} (line {node.lineno})")
            if path.startswith(("torch.ops", "torch._C")) or ".__dict__" in path:
                found.append(f"reaches into {path} (line {node.lineno})")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "vars"):
            found.append(f"looks up names by {node.func.id} (line {node.lineno})")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
            found.append(f"imports by a computed name (line {node.lineno})")
    return list(dict.fromkeys(found))


__all__ = ["RuleReport", "TritonRules"]
