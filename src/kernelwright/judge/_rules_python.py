"""Static rules for Python: names are followed through imports and aliases, on the syntax tree alone."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from . import _findings as f
from ._findings import Findings

_BUILTINS = frozenset(dir(builtins))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _table(*rows: tuple[str, bool, str]) -> dict[str, tuple[str, bool]]:
    return {name: (label, forbidden) for label, forbidden, names in rows for name in names.split()}


# A dotted name stands for itself and everything below it; the longest that fits decides.
_NAMES = _table(
    (f.PROCESSES, True, "subprocess multiprocessing torch.multiprocessing pty os.system os.popen os.fork os.forkpty "
     "os.execl os.execle os.execlp os.execlpe os.execv os.execve os.execvp os.execvpe os.spawnl os.spawnle os.spawnlp "
     "os.spawnv os.spawnve os.spawnvp os.posix_spawn os.posix_spawnp os.kill os.killpg os.startfile "
     "asyncio.create_subprocess_exec asyncio.create_subprocess_shell concurrent.futures.ProcessPoolExecutor"),
    (f.NETWORK, True, "socket socketserver urllib.request http.client http.server requests httpx aiohttp ftplib "
     "smtplib telnetlib xmlrpc torch.hub torch.distributed.TCPStore asyncio.open_connection"),
    (f.FILES, True, "builtins.open io.open io.FileIO os.open os.remove os.unlink os.rename os.replace os.rmdir "
     "os.mkdir os.makedirs os.listdir os.scandir os.walk os.truncate os.link os.symlink os.mkfifo os.chmod "
     "os.write os.read os.dup os.dup2 os.close os.closerange os.fdopen os.sendfile os.pwrite os.pread fcntl shutil "
     "fileinput glob linecache torch.load torch.save torch.from_file numpy.load numpy.save numpy.savez numpy.fromfile "
     "numpy.memmap numpy.loadtxt numpy.genfromtxt pickle.load pickle.dump sqlite3 shelve dbm codecs.open"),
    (f.FRAMES, True, "sys._getframe sys._current_frames sys.settrace sys.setprofile sys.monitoring inspect.stack "
     "inspect.currentframe inspect.getouterframes inspect.getinnerframes inspect.trace traceback.extract_stack "
     "traceback.walk_stack traceback.format_stack traceback.print_stack threading.settrace threading.setprofile "
     "gc.get_objects gc.get_referrers gc.get_referents"),
    (f.REFERENCE, True, "kernelwright __main__"),
    (f.PATCHES, True, "unittest.mock importlib.reload"),
    (f.MODULES, False, "sys.modules"),
    (f.FILES, False, "tempfile mmap os.memfd_create os.path pathlib"),
    (f.THREADS, False, "threading _thread concurrent.futures asyncio torch.jit.fork torch.futures queue"),
    (f.CLOCK, False, "time datetime timeit torch.utils.benchmark torch.cuda.Event torch.profiler "
     "torch.autograd.profiler"),
    (f.ADDRESSES, False, "builtins.id ctypes cffi"),
    (f.NATIVE, False, "ctypes.CDLL ctypes.PyDLL ctypes.cdll ctypes.pydll ctypes.pythonapi ctypes.LibraryLoader "
     "torch.ops.load_library torch.classes.load_library"),
    (f.ENVIRONMENT, False, "os.environ os.getenv os.getpid os.getppid sys.argv platform socket.gethostname"),
    (f.EXITS, False, "os._exit os.abort sys.exit builtins.exit builtins.quit atexit faulthandler"),
    (f.SIGNALS, False, "signal"),
    (f.COMPUTED, False, "builtins.exec builtins.eval builtins.compile marshal types.CodeType "
     "types.FunctionType codeop"),
    (f.SETTINGS, False, "torch.set_num_threads torch.set_num_interop_threads torch.set_default_dtype "
     "torch.set_float32_matmul_precision torch.set_flush_denormal torch.use_deterministic_algorithms torch.manual_seed "
     "torch.set_rng_state torch.set_default_device torch.seed random.seed numpy.random.seed os.sched_setaffinity "
     "os.nice resource.setrlimit gc.disable gc.freeze"),
    (f.INTERCEPTS, False, "torch.utils._python_dispatch torch.overrides torch.library torch._C._dispatch_library"),
    (f.EXTENSION, False, "torch.utils.cpp_extension"),
    (f.GPU, False, "triton torch.cuda cupy pycuda numba.cuda"),
    # What waits for the judge's stream alone would not see the work: nobody needs another to compute.
    (f.STREAMS, True, "torch.cuda.Stream torch.cuda.stream torch.cuda.set_stream torch.cuda.ExternalStream "
     "torch.Stream"),
)  # fmt: skip

_FRAME_ATTRIBUTES = _words("f_back f_locals f_globals f_builtins tb_frame gi_frame cr_frame ag_frame")
_FILE_METHODS = _words("read_text write_text read_bytes write_bytes")
_ADDRESS_ATTRIBUTES = _words("data_ptr untyped_storage _cdata storage_offset")
_PROTECTED = _words("torch time builtins numpy math random importlib inspect threading types functools")
_SETTING_PARTS = frozenset(("backends", "config", "environ"))

# Of torch's names, those that compute nothing.
_TORCH_PLAIN = _words(
    "empty empty_like empty_strided tensor as_tensor asarray from_numpy frombuffer from_dlpack zeros zeros_like ones "
    "ones_like full full_like Tensor Size device dtype Generator no_grad inference_mode enable_grad is_tensor "
    "is_floating_point get_num_threads get_default_dtype numel as_strided float32 float64 float16 bfloat16 int8 uint8 "
    "int16 int32 int64 bool float double half long int channels_last contiguous_format preserve_format compile finfo "
    "iinfo get_rng_state promote_types result_type is_grad_enabled set_grad_enabled arange linspace eye rand randn "
    "randint randperm rand_like randn_like manual_seed"
)
_TORCH_ROOMS = _words(
    "autograd utils backends cuda library jit hub multiprocessing overrides types testing version _C random futures "
    "profiler distributed export fx _dynamo _inductor classes package func"
)
_LAYERS_PLAIN = _words(
    "Module Parameter ParameterList ParameterDict ModuleList ModuleDict Sequential Identity Buffer "
    "UninitializedParameter init utils parameter modules"
)
_METHODS = _words(
    "matmul mm bmm addmm mv dot softmax log_softmax relu sigmoid tanh exp log sqrt rsqrt pow sum mean prod amax amin "
    "var std norm cumsum cumprod sort topk argmax argmin argsort logsumexp einsum gather scatter scatter_add "
    "index_select masked_fill clamp bmm baddbmm conv2d"
)


def read_python(text: str, found: Findings) -> None:
    """Add what is found in a Python text, and in the sources of extensions that it holds."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # whoever runs it will say so
    _Reader(tree, found).run()


class _Reader:
    def __init__(self, tree: ast.Module, found: Findings) -> None:
        self.tree, self.found = tree, found
        self.nodes = list(ast.walk(tree))
        self.aliases: dict[str, str] = {}
        self.strings: dict[str, list[str]] = {}
        self.bound: set[str] = set()  # names that are also something else somewhere: nothing is certain of them

    def run(self) -> None:
        self._imports()
        self._bindings()
        parts = {id(node.value) for node in self.nodes if isinstance(node, ast.Attribute)}
        for node in self.nodes:
            if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and id(node) not in parts:
                self._name(node)
            if isinstance(node, ast.Attribute):
                self._attribute(node)
            elif isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.ClassDef):
                self._class(node)
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                self._add(f.LIBRARY, "@", node)
            for target in _targets(node):
                self._write(target)
        self._model()

    # ── names ──

    def _imports(self) -> None:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    path = alias.name if alias.asname else alias.name.split(".")[0]
                    self.aliases[alias.asname or path] = path
                    self._judge(alias.name, node, used=False)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self.aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                    self._judge(f"{node.module}.{alias.name}", node, used=False)

    def _bindings(self) -> None:
        """Aliases by assignment, text constants, and names that mean something else besides."""
        for node in self.nodes:
            if isinstance(node, ast.arg):
                self.bound.add(node.arg)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.bound.add(node.name)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._bind(node.targets[0].id, node.value)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in self.aliases:
                self.bound.add(node.id)
        for name in self.bound & self.aliases.keys():
            del self.aliases[name]

    def _bind(self, name: str, value: ast.expr) -> None:
        texts = [n.value for n in ast.walk(value) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        self.strings.setdefault(name, []).extend(texts)
        path = self.path(value) if not isinstance(value, ast.Call) or self._is_lookup(value) else None
        if path is not None and name not in self.aliases:
            self.aliases[name] = path

    def path(self, node: ast.AST) -> str | None:
        """The dotted name that an expression stands for, as far as reading tells."""
        if isinstance(node, ast.Name):
            known = self.aliases.get(node.id)
            builtin = node.id in _BUILTINS and node.id not in self.bound
            return known or (f"builtins.{node.id}" if builtin else None)
        if isinstance(node, ast.Attribute):
            base = self.path(node.value)
            return f"{base}.{node.attr}" if base else None
        if isinstance(node, ast.Subscript):  # sys.modules["torch"], torch.__dict__["relu"]
            base, key = self.path(node.value), _constant(node.slice)
            if base == "sys.modules" and key:
                return key
            return f"{base.removesuffix('.__dict__')}.{key}" if base and key and base.endswith("__dict__") else None
        return self._lookup(node) if isinstance(node, ast.Call) else None

    def _is_lookup(self, node: ast.Call) -> bool:
        return self._lookup(node) is not None

    def _lookup(self, node: ast.Call) -> str | None:
        """``__import__("os")``, ``import_module("os")``, ``getattr(os, "system")``, ``vars(os)["system"]``."""
        function = self.path(node.func)
        first = _constant(node.args[0]) if node.args else None
        if function in ("builtins.__import__", "importlib.import_module", "importlib.__import__") and first:
            return first
        if function == "builtins.getattr" and len(node.args) > 1:
            base, name = self.path(node.args[0]), _constant(node.args[1])
            return f"{base}.{name}" if base and name else None
        if function == "builtins.vars" and node.args:
            base = self.path(node.args[0])
            return f"{base}.__dict__" if base else None
        return None

    # ── rules ──

    def _name(self, node: ast.Name | ast.Attribute | ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load):
            path = self.path(node)
            if path is not None:
                self._judge(path, node)

    def _judge(self, path: str, node: ast.AST, *, used: bool = True) -> None:
        parts = path.split(".")
        for end in range(len(parts), 0, -1):
            rule = _NAMES.get(".".join(parts[:end]))
            if rule is not None:
                label, forbidden = rule
                # Whoever imports a module has not used it yet, except for what only a spy would import.
                self._add(label, path, node, forbidden=forbidden and (used or label == f.REFERENCE))
                return

    def _attribute(self, node: ast.Attribute) -> None:
        if node.attr in _FRAME_ATTRIBUTES:
            self._add(f.FRAMES, f".{node.attr}", node, forbidden=True)
        elif node.attr in _FILE_METHODS:
            self._add(f.FILES, f".{node.attr}", node, forbidden=True)
        elif node.attr in _ADDRESS_ATTRIBUTES:
            self._add(f.ADDRESSES, f".{node.attr}", node)

    def _call(self, node: ast.Call) -> None:
        path = self.path(node.func)
        looked = self._lookup(node)
        if looked is not None:
            self._judge(looked, node)
        elif path in ("builtins.__import__", "importlib.import_module"):
            self._add(f.COMPUTED, "an import by a computed name", node)
        if path in ("builtins.setattr", "builtins.delattr", "builtins.object.__setattr__") and node.args:
            self._patch(self.path(node.args[0]), node)
        if path and path.endswith("load_inline"):
            self._extension(node)
        if path and path.startswith("torch.library.") and node.args and _constant(node.args[0]) == "aten":
            self._add(f.PATCHES, "torch's own operators", node, forbidden=True)
        if path and path.startswith("torch."):
            self._torch(path, node)
        elif path is None and isinstance(node.func, ast.Attribute):
            if node.func.attr in _METHODS:
                self._add(f.LIBRARY, f".{node.func.attr}", node)
            base = self.path(node.func.value)
            if base == "sys.modules":
                self._add(f.MODULES, f"sys.modules.{node.func.attr}", node)
        if path in ("sys.modules.values", "sys.modules.items", "sys.modules.copy"):
            self._add(f.MODULES, path, node, forbidden=True)

    def _torch(self, path: str, node: ast.AST) -> None:
        parts = path.split(".")[1:]
        if parts[0] == "nn" and len(parts) > 1:
            computes = parts[1] == "functional" or parts[1] not in _LAYERS_PLAIN
        else:
            computes = parts[0] not in _TORCH_ROOMS and parts[0] not in _TORCH_PLAIN and not parts[0].startswith("set_")
        if computes and parts[-1] not in ("manual_seed", "seed", "load", "save"):
            self._add(f.LIBRARY, path, node)

    def _class(self, node: ast.ClassDef) -> None:
        bases = [self.path(base) or "" for base in node.bases]
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        if "torch.Tensor" in bases or methods & {"__torch_dispatch__", "__torch_function__"}:
            kind = f.SUBCLASS if "torch.Tensor" in bases else f.INTERCEPTS
            self._add(kind, f"class {node.name}", node)

    def _write(self, target: ast.expr) -> None:
        if isinstance(target, ast.Attribute):
            if target.attr == "__code__":
                self._add(f.PATCHES, ".__code__", target, forbidden=True)
            else:
                self._patch(self.path(target), target)
        elif isinstance(target, ast.Subscript):
            base = self.path(target.value)
            if base == "sys.modules":
                self._add(f.PATCHES, base, target, forbidden=True)
            elif base is not None:
                self._patch(base, target)

    def _patch(self, path: str | None, node: ast.AST) -> None:
        parts = path.split(".") if path else []
        if not parts or (len(parts) == 1 and parts[0] not in _PROTECTED):
            return
        if _SETTING_PARTS & set(parts):
            self._add(f.SETTINGS, path or "", node)
        else:
            self._add(f.PATCHES, path or "", node, forbidden=parts[0] in _PROTECTED)

    def _extension(self, node: ast.Call) -> None:
        """The sources of an extension, where they are constants."""
        from ._rules_cpp import read_cpp

        given = [*node.args[1:3], *(k.value for k in node.keywords if k.arg in ("cpp_sources", "cuda_sources"))]
        if any(k.arg == "cuda_sources" and _constant(k.value) != "" for k in node.keywords):
            self._add(f.GPU, "cuda_sources", node)
        texts: list[str] = []
        for part in (n for value in given for n in ast.walk(value)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                texts.append(part.value)
            elif isinstance(part, ast.Name):
                texts += self.strings.get(part.id, [])
        self.found.prefix = "in its extension: "
        for text in dict.fromkeys(texts):
            read_cpp(text, self.found)
        self.found.prefix = ""

    def _model(self) -> None:
        """The reference's class by its name: its own copy is data, the judge's it can only mean to find."""
        uses = [n for n in self.nodes if isinstance(n, ast.Name) and n.id == "Model" and isinstance(n.ctx, ast.Load)]
        defined = any(isinstance(n, ast.ClassDef) and n.name == "Model" for n in self.nodes) or "Model" in self.bound
        for use in uses[:1]:
            known = defined or "Model" in self.aliases
            self._add(f.REFERENCE, "class Model", use, forbidden=not known)

    def _add(self, label: str, what: str, node: ast.AST, *, forbidden: bool = False) -> None:
        line = getattr(node, "lineno", 0)
        self.found.add(label, f"{what} in line {line}" if line else what, forbidden=forbidden)


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    """What a statement writes to, tuples taken apart."""
    found: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        found = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For):
        found = [node.target]
    while found:
        target = found.pop()
        if isinstance(target, ast.Tuple | ast.List):
            found += target.elts
        else:
            yield target


def _constant(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
