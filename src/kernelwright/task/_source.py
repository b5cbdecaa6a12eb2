"""SOURCE to Task: reads the text and checks that what is needed is there, without running any of it."""

from __future__ import annotations

import ast
import importlib.machinery
import re
import sys
from pathlib import Path

from kernelwright.errors import InputsInvalid, SourceInvalid, SourceNotFound
from kernelwright.task._task import DynamicSize, Task

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def parse_source(source: str, dynamic: tuple[DynamicSize, ...] = ()) -> Task:
    """Describe SOURCE as a task: ``file.py``, ``file.py:attribute`` or ``package.module:attribute``.

    Raises :class:`SourceNotFound`, :class:`SourceInvalid` or :class:`InputsInvalid`, each with one sentence.
    """
    place, attribute = _split(source)
    if place.endswith(".py") or Path(place).exists():
        path, module = Path(place), ""
    elif attribute and _DOTTED.fullmatch(place):
        path, module = _module_file(place, source), place
    else:
        raise SourceNotFound(
            f"SOURCE {source!r} is not an existing file; write file.py, file.py:function or package.module:Class."
        )
    text = read_text(path)
    names = _Names(_parse(text, path))
    wanted = attribute or "Model"
    if not names.has(wanted):
        raise SourceInvalid(_missing(path, wanted, attribute, names))
    _check_inputs(path, wanted, names, plain=not attribute)
    is_class = wanted in names.classes
    return Task(
        name=path.stem + (f":{attribute}" if attribute else ""),
        kind="kernelbench" if is_class or not attribute else "function",
        text=text,
        path=str(path.resolve()),
        attribute=wanted,
        module=module,
        dynamic=tuple(dynamic),
    )


def read_text(path: Path) -> str:
    """The text of a Python file, or :class:`SourceNotFound` / :class:`SourceInvalid`."""
    if path.is_dir():
        raise SourceNotFound(f"{path} is a folder; name one .py file (a folder is for `bench kernelbench`).")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SourceNotFound(f"No file {str(path)!r} exists; give the path of a readable .py file.") from None
    except UnicodeDecodeError as error:
        raise SourceInvalid(f"{path} is not UTF-8 text (byte {error.start}); give a Python source file.") from None
    except OSError as error:
        raise SourceNotFound(
            f"File {str(path)!r} cannot be read ({error.strerror}); give a readable .py file."
        ) from None


def _split(source: str) -> tuple[str, str]:
    """Split off ``:attribute``; a drive letter's colon is not one."""
    place, colon, attribute = source.rpartition(":")
    if colon and attribute.isidentifier() and len(place) > 1:
        return place, attribute
    return source, ""


def _parse(text: str, path: Path) -> ast.Module:
    try:
        return ast.parse(text, filename=str(path))
    except SyntaxError as error:
        raise SourceInvalid(f"{path} has a syntax error in line {error.lineno}: {error.msg}.") from None
    except ValueError as error:  # e.g. a NUL byte
        raise SourceInvalid(f"{path} is not Python source: {error}.") from None


def _module_file(dotted: str, source: str) -> Path:
    """The file of a module, found part by part so that no parent package is executed."""
    search: list[str] | None = ["", *sys.path]
    parts = dotted.split(".")
    for depth, _ in enumerate(parts):
        name = ".".join(parts[: depth + 1])
        spec = importlib.machinery.PathFinder.find_spec(name, search)
        if spec is None:
            raise SourceNotFound(f"SOURCE {source!r}: no module {name!r} is importable here (nor a file {dotted!r}).")
        search = list(spec.submodule_search_locations) if spec.submodule_search_locations else []
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise SourceNotFound(f"SOURCE {source!r}: module {dotted!r} has no Python source file; name one that has.")
    return Path(spec.origin)


class _Names:
    """Names that a module's top level binds, as far as reading tells."""

    def __init__(self, tree: ast.Module) -> None:
        self.classes: dict[str, ast.ClassDef] = {}
        self.functions: dict[str, ast.FunctionDef] = {}
        self.other: set[str] = set()
        self.star = False
        for node in _top_level(tree):
            self._add(node)

    def _add(self, node: ast.stmt) -> None:
        if isinstance(node, ast.ClassDef):
            self.classes[node.name] = node
        elif isinstance(node, ast.FunctionDef):
            self.functions[node.name] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                self.star |= alias.name == "*"
                self.other.add(alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            self.other |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}

    def has(self, name: str) -> bool:
        return self.star or name in self.classes or name in self.functions or name in self.other


def _top_level(tree: ast.Module) -> list[ast.stmt]:
    """Statements of the module's top level, those inside ``if``/``try``/``with`` included."""
    found: list[ast.stmt] = []
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If | ast.Try | ast.With):
            stack.extend(c for c in reversed(list(ast.iter_child_nodes(node))) if isinstance(c, ast.stmt))
            stack.extend(s for h in getattr(node, "handlers", []) for s in h.body)
        elif isinstance(node, ast.stmt):
            found.append(node)
    return found


def _missing(path: Path, wanted: str, attribute: str, names: _Names) -> str:
    have = ", ".join([*names.classes, *names.functions]) or "nothing"
    if attribute:
        return f"{path} defines no {wanted!r} (it defines {have})."
    return (
        f"{path} defines no class Model, so it is not in the task format (class Model, get_inputs, get_init_inputs); "
        f"define one or name a function of it as {path}:function (it defines {have})."
    )


def _check_inputs(path: Path, wanted: str, names: _Names, *, plain: bool) -> None:
    """Example inputs must have a source: ``<name>_inputs()``, ``get_inputs()``, or defaults of the arguments."""
    if names.has("get_inputs") or (not plain and names.has(f"{wanted}_inputs")):
        return
    if plain:
        raise InputsInvalid(f"{path} defines no get_inputs(); define it to return the list of forward's arguments.")
    function = names.functions.get(wanted)
    if wanted in names.classes:
        body = names.classes[wanted].body
        function = next((n for n in body if isinstance(n, ast.FunctionDef) and n.name == "forward"), None)
    if function is None and (wanted in names.other or wanted in names.classes):
        return  # imported or inherited: only running it tells
    if function is None or _lacks_default(function, method=wanted in names.classes):
        raise InputsInvalid(no_inputs(wanted, str(path)))


def no_inputs(wanted: str, place: str) -> str:
    """The sentence that says where example inputs were looked for."""
    return (
        f"No example inputs for {wanted!r} in {place}: looked for a function {wanted}_inputs(), then get_inputs(), "
        f"then default values of all its arguments; define one of them."
    )


def _lacks_default(function: ast.FunctionDef, *, method: bool) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args][1 if method else 0 :]
    return not arguments or len(function.args.defaults) < len(arguments)
