"""Static rules for C and C++, on a parser's tree: comments, strings and members of objects do not count."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import _findings as f
from ._findings import Findings

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Query


def _table(*rows: tuple[str, bool, str]) -> dict[str, tuple[str, bool]]:
    return {name: (label, forbidden) for label, forbidden, names in rows for name in names.split()}


FUNCTIONS = _table(
    (f.PROCESSES, True, "fork vfork clone clone3 execl execlp execle execv execvp execve execvpe fexecve system popen "
     "posix_spawn posix_spawnp ptrace daemon kill tgkill process_vm_readv process_vm_writev"),
    (f.SYSCALLS, True, "syscall"),
    (f.NETWORK, True, "socket socketpair connect getaddrinfo gethostbyname sendto recvfrom sendmsg recvmsg"),
    (f.FILES, True, "open open64 openat openat2 fopen fopen64 freopen creat fdopen opendir unlink unlinkat mkdir rmdir "
     "shm_open truncate ftruncate mkstemp mknod symlink"),
    (f.FRAMES, True, "backtrace __builtin_return_address __builtin_frame_address _Unwind_Backtrace dl_iterate_phdr"),
    (f.SYMBOLS, False, "dlopen dlmopen dlsym dlvsym dladdr"),
    (f.THREADS, False, "pthread_create thrd_create GOMP_parallel"),
    (f.CLOCK, False, "clock_gettime gettimeofday timespec_get __rdtsc __rdtscp __builtin_ia32_rdtsc omp_get_wtime "
     "times clock time"),
    (f.MEMORY, False, "mmap mremap munmap madvise memfd_create brk sbrk"),
    (f.PROTECTION, True, "mprotect pkey_mprotect"),
    (f.ENVIRONMENT, False, "getenv secure_getenv setenv putenv getpid sched_getcpu"),
    (f.EXITS, False, "exit _exit _Exit quick_exit abort atexit raise"),
    (f.SIGNALS, False, "signal sigaction sigaltstack setjmp longjmp sigsetjmp siglongjmp"),
    (f.SETTINGS, False, "omp_set_num_threads fesetround fesetenv _mm_setcsr __builtin_ia32_ldmxcsr sched_setaffinity "
     "pthread_setaffinity_np setpriority prctl mlockall _MM_SET_FLUSH_ZERO_MODE _MM_SET_DENORMALS_ZERO_MODE"),
    (f.PRINTS, False, "printf fprintf puts putchar fputs cout cerr write pwrite"),
    (f.STREAMS, True, "cudaStreamCreate cudaStreamCreateWithFlags cudaStreamCreateWithPriority cuStreamCreate "
     "getStreamFromPool cudaLaunchHostFunc cudaStreamAddCallback"),
    (f.SETTINGS, True, "cudaStreamSetAttribute cuStreamSetAttribute cudaCtxResetPersistingL2Cache cudaDeviceReset"),
    (f.LIBRARY, False, "cblas_sgemm cblas_dgemm cblas_sgemv cblas_dgemv sgemm_ dgemm_ dnnl_sgemm mkl_sparse_s_mm"),
)  # fmt: skip
_CALLED_ONLY = frozenset(("time", "clock", "times", "raise", "signal", "write", "open", "connect", "kill", "exit"))
_TYPES = _table(
    (f.THREADS, False, "thread jthread async"),
    (f.FILES, True, "ifstream ofstream fstream"),
    (f.ADDRESSES, False, "uintptr_t intptr_t"),
)  # fmt: skip
_SPACES = _table(
    (f.LIBRARY, False, "at torch c10 dnnl mkl"),
    (f.CLOCK, False, "chrono"),
    (f.FILES, True, "filesystem"),
)  # fmt: skip
_DECLARING = ("function_declarator", "parameter_declaration", "init_declarator", "enumerator")
_CALLS_OF_THE_KERNEL = ("syscall", "sysenter", "int $0x80", "svc ")


def read_cpp(text: str, found: Findings) -> None:
    """Add what is found in a C or C++ text. A text that does not parse gives what its whole parts give."""
    _read(text.encode("utf-8", "replace"), found, 0)


def _read(text: bytes, found: Findings, line: int) -> None:
    from tree_sitter import QueryCursor

    captures = QueryCursor(_query()).captures(_parser().parse(text).root_node)
    own = {_word(node) for node in captures.get("own", ())}
    for kind, table in (("name", FUNCTIONS), ("type", _TYPES), ("space", _SPACES)):
        for node in captures.get(kind, ()):
            word = _word(node)
            if word not in own and _counts(node, word):
                label, forbidden = table[word]
                found.add(label, f"{word}{_where(node, line)}", forbidden=forbidden)
    for node in captures.get("include", ()):
        _include(_text(node).strip('<>" '), node, found, line)
    for node in captures.get("assembly", ()):
        _assembly(_text(node), node, found, line)
    _directives(captures.get("directive", ()), found, line)
    for node in captures.get("macro", ()) if line >= 0 else ():
        body = _text(node)
        if "##" in body:
            found.add(f.PASTES, f"##{_where(node, line)}")
        _read(f"auto expanded() {{ {body} ; }}".encode(), found, -1 - node.start_point[0])


def _counts(node: Node, word: str) -> bool:
    """Is the name one of the C library's here? Not where it is declared, or belongs to another namespace."""
    parent = node.parent
    if parent is None or parent.type in (
        "function_declarator",
        "parameter_declaration",
        "init_declarator",
        "enumerator",
    ):
        return parent is not None and parent.child_by_field_name("declarator") != node
    if parent.type == "qualified_identifier" and node.type != "namespace_identifier":
        scope = parent.child_by_field_name("scope")
        if scope is not None and scope != node and _text(scope) not in ("std", "::"):
            return False
        parent = parent.parent or parent
        node = node.parent or node
    if word in _CALLED_ONLY:
        called = parent.type == "call_expression" and parent.child_by_field_name("function") == node
        return called or parent.type == "pointer_expression"
    return True


def _include(path: str, node: Node, found: Findings, line: int) -> None:
    if path.startswith(("torch/", "ATen/", "c10/", "dnnl", "oneapi/", "mkl", "cblas")):
        found.add(f.LIBRARY, f"#include {path}{_where(node, line)}")
    elif path.startswith(("cuda", "cublas", "hip/")):
        found.add(f.GPU, f"#include {path}{_where(node, line)}")
    elif path.startswith("/") or ".." in path.split("/"):
        found.add(f.FILES, f"#include {path}{_where(node, line)}", forbidden=True)


def _assembly(text: str, node: Node, found: Findings, line: int) -> None:
    found.add(f.ASSEMBLY, f"asm{_where(node, line)}")
    if any(call in text for call in _CALLS_OF_THE_KERNEL):
        found.add(f.SYSCALLS, f"asm{_where(node, line)}", forbidden=True)
    if ".incbin" in text:
        found.add(f.FILES, f".incbin{_where(node, line)}", forbidden=True)


def _directives(nodes: Iterable[Node], found: Findings, line: int) -> None:
    for node in nodes:
        words = _text(node).split()
        if words[:2] == ["#pragma", "omp"]:
            found.add(f.OPENMP, f"#pragma omp{_where(node, line)}")
        elif words and words[0] == "#embed":
            found.add(f.FILES, f"#embed{_where(node, line)}", forbidden=True)


def _where(node: Node, line: int) -> str:
    """A macro's body is parsed on its own: its line is known from outside."""
    return f" in line {(-1 - line if line < 0 else node.start_point[0]) + 1}"


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


_word = _text


@functools.cache
def _parser() -> Parser:
    import tree_sitter_cpp
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_cpp.language()))


@functools.cache
def _query() -> Query:
    from tree_sitter import Query

    names, types, spaces = (" ".join(f'"{name}"' for name in table) for table in (FUNCTIONS, _TYPES, _SPACES))
    language = _parser().language
    assert language is not None
    return Query(
        language,
        f"""
        ((identifier) @name (#any-of? @name {names}))
        ([(identifier) (type_identifier) (primitive_type)] @type (#any-of? @type {types}))
        ((namespace_identifier) @space (#any-of? @space {spaces}))
        (function_definition declarator: (function_declarator declarator: (identifier) @own))
        (init_declarator declarator: (identifier) @own)
        (parameter_declaration declarator: (identifier) @own)
        (preproc_include path: (_) @include)
        (gnu_asm_expression) @assembly
        (preproc_call) @directive
        (preproc_def value: (preproc_arg) @macro)
        (preproc_function_def value: (preproc_arg) @macro)
        """,
    )
