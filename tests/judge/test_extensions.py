"""Extensions are read off a text that is never run."""

from __future__ import annotations

import pytest

from kernelwright.errors import ExtensionRefused
from kernelwright.judge._extensions import read_extensions

_WRITTEN = """
from torch.utils import cpp_extension
HEAD = "int f"
SOURCE = HEAD + "() { return 2; }"
FLAGS = ["-O3"] + ["-march=native"]
one = cpp_extension.load_inline("one", SOURCE, functions=["f"], extra_cflags=FLAGS, verbose=loud)
class ModelNew:
    def __init__(self):
        self.two = cpp_extension.load_inline(name="two", cpp_sources=[SOURCE], functions="f")
"""


def test_what_is_written_out_is_read_in_order() -> None:
    one, two = read_extensions(_WRITTEN)
    assert (one.name, one.flags, two.name, two.flags) == ("one", ("-O3", "-march=native"), "two", ())
    assert one.sources == two.sources == ("int f() { return 2; }",)


@pytest.mark.parametrize("text", ["import torch\nx = torch.ones(3)", "load_inline('a', ", "x = '\0'"])
def test_a_file_without_any_has_none(text: str) -> None:
    assert read_extensions(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "load_inline('a', open('f').read())",
        "S = 'int'\nS = 'long'\nload_inline('a', S)",
        "S = S + 'a'\nload_inline('a', S)",
        "def f(s):\n    load_inline('a', s)",
        "for s in 'ab':\n    load_inline(s, s)",
        "load_inline('a', f'{1}')",
        "load_inline(**options)",
        "load_inline('a', *sources)",
        "load_inline('a', 'b', None, None, ['f'])",
    ],
)
def test_what_is_computed_is_refused(text: str) -> None:
    with pytest.raises(ExtensionRefused, match="load_inline in line"):
        read_extensions(text)
