"""Host code around kernels, followed from the entry: it may allocate, view and compute sizes, and nothing else.

Every value is a tensor, something that kernels have written, or neither; what is done with tensors other than viewing
them and handing them to kernels is delegation. Calls of the text's own functions are followed.
"""

from __future__ import annotations

import ast
from typing import Literal

from ._kernels import Kernel, bind
from ._names import Names

Kind = Literal["tensor", "other"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALLOCATES = _words(
    "empty empty_like empty_strided zeros zeros_like full full_like ones ones_like Size device dtype finfo iinfo "
    "is_tensor is_floating_point get_default_dtype numel broadcast_shapes result_type promote_types"
)
_VIEWS = _words(
    "contiguous view reshape flatten transpose permute t mT T H squeeze unsqueeze expand expand_as view_as reshape_as "
    "narrow select unflatten movedim swapaxes new_empty new_zeros new_full new_ones to float half bfloat16 double "
    "detach clone cuda cpu data as_strided unfold"
)
_FACTS = _words(
    "shape size stride numel nelement dim ndim dtype device is_contiguous is_cuda element_size data_ptr layout "
    "itemsize requires_grad storage_offset is_floating_point get_device untyped_storage nbytes"
)
_DEEPEST = 12


class Host:
    """Reads host code; ``violations`` are sentences, ``launched`` the kernels that the entry reaches."""

    def __init__(self, tree: ast.Module, names: Names, kernels: dict[str, Kernel]) -> None:
        self.names, self.kernels = names, kernels
        self.functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name not in kernels}
        self.classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
        self.violations: list[str] = []
        self.launched: set[str] = set()
        self.depth = 0

    def enter(self, entry: str) -> bool | None:
        """Whether what the entry returns was written by kernels; None where there is no such entry."""
        if entry in self.functions:
            return Scope(self, self.functions[entry], None).run({})
        if entry in self.classes:
            methods = _methods(self.classes[entry])
            return Scope(self, methods["forward"], self.classes[entry]).run({}) if "forward" in methods else None
        return None

    def blame(self, what: str, node: ast.AST) -> None:
        line = getattr(node, "lineno", 0)
        sentence = f"{what} (line {line})"
        if sentence not in self.violations:
            self.violations.append(sentence)


class Scope:
    """One function while it is read."""

    def __init__(self, host: Host, function: ast.FunctionDef, owner: ast.ClassDef | None) -> None:
        self.host, self.function, self.owner = host, function, owner
        self.kinds: dict[str, Kind] = {}
        self.base: dict[str, str] = {}  # views: whose memory a name is
        self.written: set[str] = set()
        self.held: dict[str, Kind] = _held(owner, host.names) if owner else {}
        self.returned: list[bool] = []

    def run(self, given: dict[str, Kind]) -> bool:
        """Read it; ``given``: kinds of parameters where a call tells. True where all it returns was written."""
        for argument in (*self.function.args.posonlyargs, *self.function.args.args, *self.function.args.kwonlyargs):
            if argument.arg != "self":
                self.kinds[argument.arg] = given.get(argument.arg, _annotated(argument))
        for default in self.function.args.defaults[::-1]:
            index = len(self.function.args.args) - len(self.function.args.defaults)
            position = index + self.function.args.defaults.index(default)
            if isinstance(default, ast.Constant) and default.value is not None:
                self.kinds[self.function.args.args[position].arg] = "other"
        self.host.depth += 1
        if self.host.depth < _DEEPEST:
            for _ in range(2):  # a second time for what loops carry round
                self.returned.clear()
                self.block(self.function.body)
        self.host.depth -= 1
        return bool(self.returned) and all(self.returned)

    # ── statements ──

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Return):
            self.returned.append(self.is_written(node.value))
        elif isinstance(node, ast.Assign):
            kind = self.kind(node.value)
            for target in node.targets:
                self.assign(target, kind, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self.assign(node.target, self.kind(node.value), node.value)
        elif isinstance(node, ast.AugAssign):
            if "tensor" in (self.kind(node.target), self.kind(node.value)):
                self.host.blame("computes with tensors outside of kernels", node)
        elif isinstance(node, ast.Expr):
            self.kind(node.value)
        elif isinstance(node, ast.If | ast.While):
            self.kind(node.test)
            self.block(node.body + node.orelse)
        elif isinstance(node, ast.For):
            self.assign(node.target, self.kind(node.iter), None)
            self.block(node.body + node.orelse)
        elif isinstance(node, ast.With):
            for item in node.items:
                self.kind(item.context_expr)
            self.block(node.body)
        elif isinstance(node, ast.Try):
            self.host.blame("has a way round a kernel that fails: try", node)
            self.block([*node.body, *node.orelse, *node.finalbody, *(s for h in node.handlers for s in h.body)])
        elif isinstance(node, ast.FunctionDef):
            pass  # a grid, most often; followed where it is called
        elif isinstance(node, ast.Assert):
            self.kind(node.test)

    def assign(self, target: ast.expr, kind: Kind, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self.kinds[target.id] = kind
            base = self.memory(value) if value is not None else ""
            if base and base != target.id:
                self.base[target.id] = base
            elif value is not None and not base:
                self.base.pop(target.id, None)
                if self.is_written(value):
                    self.written.add(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            values = value.elts if isinstance(value, ast.Tuple | ast.List) else [value] * len(target.elts)
            for part, given in zip(target.elts, values, strict=False):
                self.assign(part, self.kind(given) if given is not None and given is not value else kind, given)
        elif isinstance(target, ast.Subscript) and self.kind(target.value) == "tensor":
            self.host.blame("writes into a tensor outside of kernels", target)

    # ── whose memory ──

    def memory(self, node: ast.expr | None) -> str:
        """The name whose memory an expression is, through views; "" where it is new."""
        if isinstance(node, ast.Name):
            name, seen = node.id, set[str]()
            while name in self.base and name not in seen:
                seen.add(name)
                name = self.base[name]
            return name
        if isinstance(node, ast.Subscript):
            return self.memory(node.value)
        if isinstance(node, ast.Attribute) and node.attr in _VIEWS:
            return self.memory(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _VIEWS:
            new = node.func.attr in ("clone",) or node.func.attr.startswith("new_")
            return "" if new else self.memory(node.func.value)
        return ""

    def is_written(self, node: ast.expr | None) -> bool:
        """Whether every tensor of a returned value was written by a kernel."""
        if isinstance(node, ast.Tuple | ast.List):
            return bool(node.elts) and all(self.is_written(part) for part in node.elts)
        name = self.memory(node)
        if name:
            return name in self.written
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "clone":
                return self.is_written(node.func.value)
            return self.follow(node) is True
        return False

    # ── expressions ──

    def kind(self, node: ast.expr | None) -> Kind:
        """What an expression is; blames what it does on the way."""
        if isinstance(node, ast.Name):
            return self.kinds.get(node.id, "other")
        if isinstance(node, ast.Attribute):
            return self.attribute(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Subscript):
            if "tensor" in [self.kind(n) for n in ast.walk(node.slice) if isinstance(n, ast.Name)] and (
                self.kind(node.value) == "tensor"
            ):
                self.host.blame("gathers from a tensor outside of kernels", node)
            return self.kind(node.value)
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare):
            return self.operation(node)
        if isinstance(node, ast.IfExp):
            kinds = [self.kind(node.body), self.kind(node.orelse)]
            self.kind(node.test)
            return "tensor" if "tensor" in kinds else "other"
        if isinstance(node, ast.Tuple | ast.List):
            kinds = [self.kind(part) for part in node.elts]
            return "tensor" if "tensor" in kinds else "other"
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            for made in node.generators:
                self.assign(made.target, self.kind(made.iter), None)
            return self.kind(node.elt)
        return "other"

    def attribute(self, node: ast.Attribute) -> Kind:
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return self.held.get(node.attr, "other")
        if self.host.names.path(node):
            return "other"
        inner = self.kind(node.value)
        if node.attr in ("weight", "bias") or (inner == "tensor" and node.attr in _VIEWS):
            return "tensor"
        if inner == "tensor" and node.attr not in _FACTS:
            self.host.blame(f"uses .{node.attr} of a tensor", node)
        return "other"

    def operation(self, node: ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare) -> Kind:
        parts = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)]
        kinds = [self.kind(part) for part in parts]
        identity = isinstance(node, ast.Compare) and all(isinstance(o, ast.Is | ast.IsNot) for o in node.ops)
        if "tensor" in kinds and not identity:
            self.host.blame("computes with tensors outside of kernels", node)
            return "tensor"
        return "other"

    def call(self, node: ast.Call) -> Kind:
        if isinstance(node.func, ast.Subscript):
            kernel = self.host.kernels.get(getattr(node.func.value, "id", ""))
            if kernel is not None:
                self.launch(kernel, node)
                return "other"
        kinds = [self.kind(a) for a in [*node.args, *(k.value for k in node.keywords)] if not _is_code(a)]
        path = self.host.names.path(node.func)
        if path.startswith("torch."):
            return self.torch(path, node)
        if path.startswith("triton."):
            return "other"
        if path:
            if "tensor" in kinds:
                self.host.blame(f"hands a tensor to {path}", node)
            return "other"
        if isinstance(node.func, ast.Name):
            return self.named(node, kinds)
        return self.method(node, kinds) if isinstance(node.func, ast.Attribute) else "other"

    def named(self, node: ast.Call, kinds: list[Kind]) -> Kind:
        assert isinstance(node.func, ast.Name)
        if node.func.id in self.host.functions:
            self.follow(node)
            return "tensor" if "tensor" in kinds else "other"
        if "tensor" in kinds and node.func.id not in ("len", "isinstance", "print", "tuple", "list", "type", "id"):
            self.host.blame(f"hands a tensor to {node.func.id}", node)
            return "tensor"
        return "other"

    def method(self, node: ast.Call, kinds: list[Kind]) -> Kind:
        assert isinstance(node.func, ast.Attribute)
        owner, name = node.func.value, node.func.attr
        if isinstance(owner, ast.Name) and owner.id == "self":
            if self.owner is not None and name in _methods(self.owner):
                self.follow(node)
            else:
                self.host.blame(f"calls the layer self.{name}", node)
            return "tensor" if "tensor" in kinds else "other"
        if self.kind(owner) != "tensor":
            if "tensor" in kinds and name not in ("append", "extend"):
                self.host.blame(f"hands a tensor to .{name}", node)
            return "other"
        if name in _FACTS:
            return "other"
        if name not in _VIEWS:
            self.host.blame(f"computes with .{name} of a tensor outside of kernels", node)
        return "tensor"

    def torch(self, path: str, node: ast.Call) -> Kind:
        name = path.removeprefix("torch.")
        if name in _ALLOCATES:
            return "tensor" if name.partition("_")[0] in ("empty", "zeros", "ones", "full") else "other"
        if name.startswith("cuda.") and name.split(".")[1] in ("device", "current_device", "get_device_properties"):
            return "other"
        self.host.blame(f"calls {path}", node)
        return "tensor"

    # ── calls that are followed ──

    def launch(self, kernel: Kernel, node: ast.Call) -> None:
        self.host.launched.add(kernel.name)
        for parameter, given in bind(kernel, node):
            self.kind(given)
            name = self.memory(given)
            if parameter in kernel.written and name:
                self.written.add(name)

    def follow(self, node: ast.Call) -> bool | None:
        """Read a function of the text where it is called; what it writes of its arguments is written here."""
        owner: ast.ClassDef | None = None
        function = self.host.functions.get(getattr(node.func, "id", ""))
        if function is None and isinstance(node.func, ast.Attribute) and self.owner is not None:
            owner, function = self.owner, _methods(self.owner).get(node.func.attr)
        if function is None or self.host.depth >= _DEEPEST:
            return None
        names = [a.arg for a in (*function.args.posonlyargs, *function.args.args) if a.arg != "self"]
        given = [*zip(names, node.args, strict=False), *((k.arg, k.value) for k in node.keywords if k.arg)]
        inner = Scope(self.host, function, owner)
        inner.written = {name for name, value in given if self.is_written(value)}
        found = inner.run({name: self.kind(value) for name, value in given})
        for name, value in given:
            if name in inner.written and self.memory(value):
                self.written.add(self.memory(value))
        return found


def _methods(owner: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in owner.body if isinstance(n, ast.FunctionDef)}


def _held(owner: ast.ClassDef, names: Names) -> dict[str, Kind]:
    """What ``self`` holds: tensors where ``__init__`` makes them of torch."""
    found: dict[str, Kind] = {}
    for node in ast.walk(_methods(owner).get("__init__", ast.Pass())):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    made = any(names.path(part).startswith("torch.") for part in ast.walk(node.value))
                    found[target.attr] = "tensor" if made else "other"
    return found


def _annotated(argument: ast.arg) -> Kind:
    text = ast.unparse(argument.annotation) if argument.annotation else ""
    return "other" if text in ("int", "float", "bool", "str", "torch.dtype") else "tensor"


def _is_code(node: ast.expr) -> bool:
    return isinstance(node, ast.Lambda)


__all__ = ["Host"]
