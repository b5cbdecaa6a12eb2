"""What names in a Python text stand for: enough of it to tell Triton, its language and torch from everything else."""

from __future__ import annotations

import ast


class Names:
    """Dotted names through imports and plain aliases."""

    def __init__(self, tree: ast.Module) -> None:
        self._known: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._known[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self._known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                path = self.path(node.value)
                if path and node.targets[0].id not in self._known:
                    self._known[node.targets[0].id] = path

    def path(self, node: ast.AST) -> str:
        """The dotted name of an expression; "" where it has none that begins with an import."""
        if isinstance(node, ast.Name):
            return self._known.get(node.id, "")
        if isinstance(node, ast.Attribute):
            base = self.path(node.value)
            return f"{base}.{node.attr}" if base else ""
        return ""


def is_language(path: str) -> bool:
    """Whether a dotted name is of Triton's language."""
    return path.startswith("triton.language.")


__all__ = ["Names", "is_language"]
