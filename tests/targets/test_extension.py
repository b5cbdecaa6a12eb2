"""What may be built of an extension inside somebody else's Python file."""

from __future__ import annotations

from typing import Any

import pytest

from kernelwright.errors import ExtensionRefused
from kernelwright.targets import extension_of


def call(**arguments: Any) -> dict[str, Any]:
    return {"name": "twice", "cpp_sources": "int f() { return 2; }", **arguments}


def test_the_text_is_what_torch_would_write() -> None:
    found = extension_of(call(functions={"f": "two", "g": 'a "quoted" word'}))
    assert found.text == (
        "#include <torch/extension.h>\nint f() { return 2; }\nPYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {\n"
        'm.def("f", torch::wrap_pybind_function(f), "two");\n'
        'm.def("g", torch::wrap_pybind_function(g), "a \\"quoted\\" word");\n}\n'
    )
    bare = extension_of(call(functions="f", no_implicit_headers=True, with_pytorch_error_handling=False))
    assert bare.text == ('int f() { return 2; }\nPYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {\nm.def("f", f, "f");\n}\n')


@pytest.mark.parametrize("flag", ["-O3", " -march=native", "-ffast-math", "-fopenmp", "-std=c++17", "-DN=4", "-Wall"])
def test_what_authors_usually_tell_the_compiler(flag: str) -> None:
    assert extension_of(call(extra_cflags=[flag])).flags == (flag.strip(),)


@pytest.mark.parametrize(
    "flag",
    ["-fplugin=evil.so", "-B/tmp", "-specs=evil", "-wrapper", "-Wl,-rpath,/", "-Wp,-I/etc", "-include", "@file",
     "-I/root", "-o/etc/passwd", "kernel.o", "-DX=$(id)", "-fdump-tree-all=/etc/x", "-Xassembler", "-O3 -B/tmp"],
)  # fmt: skip
def test_what_could_run_a_program_or_touch_a_file_is_refused(flag: str) -> None:
    with pytest.raises(ExtensionRefused, match="known to be harmless"):
        extension_of(call(extra_cflags=[flag]))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"cuda_sources": "__global__ void f() {}"}, "GPU"),
        ({"extra_include_paths": ["/usr"]}, "files besides"),
        ({"extra_ldflags": ["-L/tmp"]}, "harmless"),
        ({"name": "../escape"}, "no identifier"),
        ({"cpp_sources": 3}, "no texts"),
        ({"colour": "red"}, "no argument 'colour'"),
    ],
)
def test_what_cannot_be_built_says_why(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ExtensionRefused, match=why):
        extension_of(call(**arguments))
