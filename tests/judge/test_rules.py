"""Static rules: what they find and name, what rejects, and what must not."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from kernelwright.judge import Label, read_labels
from kernelwright.targets import AtenCall, Candidate, Plan, encode
from kernelwright.targets.cpu import plain

from . import submissions


def of_python(text: str) -> dict[str, Label]:
    return {label.name: label for label in read_labels(Candidate("python", "submission", text, None))}


def of_cpp(text: str) -> dict[str, Label]:
    return {label.name: label for label in read_labels(Candidate("cpp", "submission", plain(text, "c++"), None))}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import os\nos.system('true')", "runs processes"),
        ("from os import system as s\ns('true')", "runs processes"),
        ("import os as o\nrun = o.fork\nrun()", "runs processes"),
        ("__import__('os').popen('ls')", "runs processes"),
        ("import importlib\nimportlib.import_module('subprocess').run(['ls'])", "runs processes"),
        ("import os\ngetattr(os, 'sys' 'tem')('ls')", "runs processes"),
        ("import os\nvars(os)['system']('ls')", "runs processes"),
        ("import sys\nsys.modules['os'].system('ls')", "runs processes"),
        ("import socket\nsocket.socket()", "uses the network"),
        ("import torch\nwith torch.cuda.stream(torch.cuda.Stream()):\n    pass", "puts work on a stream of its own"),
        ("from torch.cuda import Stream as S\nS()", "puts work on a stream of its own"),
        (
            "from torch.utils.cpp_extension import load_inline\n"
            "load_inline('m', '', 'void f() { cudaStreamCreate(&s); }')",
            "puts work on a stream of its own",
        ),
        ("open('/etc/passwd')", "opens files"),
        ("import builtins\nbuiltins.open('x')", "opens files"),
        ("from pathlib import Path\nPath('x').write_text('y')", "opens files"),
        ("import torch\ntorch.load('x')", "opens files"),
        ("import sys\nsys._getframe(1)", "walks frames or live objects"),
        ("import inspect\ninspect.stack()", "walks frames or live objects"),
        ("def f(e):\n    return e.__traceback__.tb_frame.f_back", "walks frames or live objects"),
        ("import gc\ngc.get_objects()", "walks frames or live objects"),
        ("import torch\ntorch.allclose = lambda *a: True", "patches a module"),
        ("import torch\nsetattr(torch, 'relu', None)", "patches a module"),
        ("import torch\nT = torch.Tensor\nT.sum = None", "patches a module"),
        ("import torch\ntorch.__dict__['relu'] = None", "patches a module"),
        ("import torch.nn.functional as F\nF.relu = None", "patches a module"),
        ("import time\ntime.perf_counter, x = None, 1", "patches a module"),
        ("import sys\nsys.modules['torch'] = None", "patches a module"),
        ("def f(g):\n    g.__code__ = f.__code__", "patches a module"),
        ("import torch\ntorch.library.Library('aten', 'IMPL')", "patches a module"),
        ("class ModelNew(Model):\n    pass", "reads the reference"),
        ("import kernelwright.judge", "reads the reference"),
        ("import sys\nfor m in sys.modules.values():\n    pass", "looks through loaded modules"),
    ],
)
def test_a_python_text_that_is_rejected(text: str, name: str) -> None:
    assert of_python(text)[name].forbidden


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import torch\nx = torch.relu(torch.empty(3))", "calls a library operation"),
        ("def f(x, y):\n    return x @ y", "calls a library operation"),
        ("import torch.nn.functional as F\nF.softmax(1)", "calls a library operation"),
        ("import threading\nthreading.Thread()", "starts threads"),
        ("import time\ntime.perf_counter()", "reads the clock"),
        ("def f(x):\n    return x.data_ptr()", "looks at addresses"),
        ("import torch\ntorch.set_num_threads(1)", "changes global settings"),
        ("import torch\ntorch.backends.mkldnn.enabled = False", "changes global settings"),
        ("exec('x = 1')", "runs computed code"),
        ("import os\nos._exit(0)", "ends the process"),
        ("import torch\nclass Lazy(torch.Tensor):\n    pass", "defines a tensor subclass"),
        ("class Model: pass\nclass ModelNew(Model):\n    pass", "reads the reference"),
        ("import triton", "needs a GPU"),
    ],
)
def test_a_label_of_a_python_text(text: str, name: str) -> None:
    assert not of_python(text)[name].forbidden


@pytest.mark.parametrize(
    "text",
    [
        "import os, subprocess, socket",  # whoever imports has done nothing yet
        "def open(x):\n    return x\nopen(3)",
        "def f(time, torch):\n    time.x = 1\n    torch.y = 2",
        "class A:\n    def open(self): pass\nA().open()\nA().system = 3",
        "import torch\nx = torch.empty(3)\nx.data = 3\nself = x\nself.weight = 1",
        "# import os; os.system('x')\ns = 'os.system(1)'",
        submissions.python(),
        "class ModelNew(:",
    ],
)
def test_no_innocent_python_text_is_rejected(text: str) -> None:
    assert not [label for label in of_python(text).values() if label.forbidden]


def test_the_place_is_named() -> None:
    assert of_python("import os\n\nos.system('x')")["runs processes"].detail == "os.system in line 3"
    assert of_cpp("int f();\n\nint g() { return system(0); }")["runs processes"].detail == "system in line 3"


def test_an_extension_inside_a_python_text_is_read() -> None:
    text = (
        "from torch.utils.cpp_extension import load_inline\nSOURCE = '''\n#include <torch/extension.h>\n"
        "int f() { return fork(); }\n'''\nm = load_inline('m', cpp_sources=[SOURCE], functions=['f'])\n"
    )
    found = of_python(text)
    assert found["runs processes"].forbidden
    assert found["runs processes"].detail == "in its extension: fork in line 3"
    assert "torch/extension.h" in found["calls a library operation"].detail
    assert "builds an extension" in found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('extern "C" int system(const char*);\nint f() { return system("x"); }', "runs processes"),
        ("#include <unistd.h>\nint f() { return ::fork(); }", "runs processes"),
        ("#include <cstdlib>\nint f() { return std::system(0); }", "runs processes"),
        ("#define RUN(x) system(x)\nint f() { return RUN(0); }", "runs processes"),
        ("int f() { auto g = &execve; return g != 0; }", "runs processes"),
        ("int f() { return socket(1, 2, 3); }", "uses the network"),
        ('int f() { return open("x", 0); }', "opens files"),
        ("#include <fstream>\nvoid f() { std::ifstream in; }", "opens files"),
        ('#include "/etc/passwd"\n', "opens files"),
        ('void f() { asm volatile("syscall"); }', "makes system calls"),
        ("int f() { return syscall(1); }", "makes system calls"),
        ("void* f() { return __builtin_return_address(0); }", "walks frames or live objects"),
    ],
)
def test_a_cpp_text_that_is_rejected(text: str, name: str) -> None:
    assert of_cpp(text)[name].forbidden


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("#include <thread>\nvoid f() { std::thread t; }", "starts threads"),
        ("#include <chrono>\nauto f() { return std::chrono::steady_clock::now(); }", "reads the clock"),
        ("#include <ATen/ATen.h>\nauto f() { return at::relu(x); }", "calls a library operation"),
        ("void f() {\n#pragma omp parallel for\nfor (int i = 0; i < 3; ++i) {} }", "uses OpenMP"),
        ("void f(void* p) { auto x = (uintptr_t)p; }", "looks at addresses"),
        ("#define JOIN(a, b) a##b\n", "pastes tokens"),
        ('void f() { dlsym(0, "x"); }', "looks up symbols while it runs"),
    ],
)
def test_a_label_of_a_cpp_text(text: str, name: str) -> None:
    assert not of_cpp(text)[name].forbidden


@pytest.mark.parametrize(
    "text",
    [
        '// system("x")\nconst char* s = "fork()";',
        "static int open(int x) { return x; }\nint f() { return open(3); }",
        "int f(int kill) { int socket = kill; return socket; }",
        "struct S { int open(); int system; };\nint f(S s) { return s.open() + s.system; }",
        "namespace mine { int fork(); }\nint f() { return mine::fork(); }",
        submissions.cpp(),
        submissions.C,
        "int f( {{{",
    ],
)
def test_no_innocent_cpp_text_is_rejected(text: str) -> None:
    assert not [label for label in of_cpp(text).values() if label.forbidden]


def test_what_a_shared_object_imports(tmp_path: Path) -> None:
    source = 'extern "C" int system(const char*); extern "C" int puts(const char*); int f() { return system("x"); }'
    (tmp_path / "a.cpp").write_text(source + ' int g() { return puts("x"); }')
    subprocess.run(["g++", "-shared", "-fPIC", "a.cpp", "-o", "a.so"], cwd=tmp_path, check=True)
    binary = (tmp_path / "a.so").read_bytes()
    found = {label.name: label for label in read_labels(Candidate("so", "submission", encode(binary), None))}
    assert found["runs processes"] == Label("runs processes", "it imports system", True)
    assert not found["prints"].forbidden
    assert read_labels(Candidate("so", "submission", encode(binary[:500]), None)) == ()


def test_operators_in_a_plan_are_labels_and_nothing_else_is_an_operator() -> None:
    def labels(op: str) -> tuple[Label, ...]:
        plan = Plan((), (), (AtenCall(op, (), (), ("y",)),), ("y",))
        return read_labels(Candidate("cpu", "submission", "", plan))

    assert labels("aten.relu.default") == (Label("calls a library operation", "aten.relu.default in the plan"),)
    assert labels("load_library.x")[0].forbidden


def test_reading_is_quick() -> None:
    text = submissions.cpp() + "".join(f"static float f{k}(float x) {{ return x * {k}.f; }}\n" for k in range(400))
    reads = (lambda: of_cpp(text), lambda: of_python(submissions.python() * 20))
    for read in reads:
        read()  # imports
        spent = []
        for _ in range(5):
            start = time.process_time()
            read()
            spent.append(time.process_time() - start)
        assert min(spent) < 0.5  # what takes tens of milliseconds here may take longer elsewhere


def test_the_stream_of_whoever_calls_may_be_asked_for() -> None:
    labels = of_python("import torch\ns = torch.cuda.current_stream().cuda_stream")
    assert not any(label.forbidden for label in labels.values())
