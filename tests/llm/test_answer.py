"""From answers to candidates' texts: what is no code is a sentence, and no text may make the compiler read files."""

from __future__ import annotations

import pytest

from kernelwright.llm import Answer, reaches_out, read_answer

CODE = "// features: tiling, Unrolling, magic\nvoid kernel(float* y) { y[0] = 1; }\n"


def test_the_longest_block_counts_and_its_features_are_known_ones() -> None:
    text = read_answer(Answer(f"Like this:\n```cpp\nint x;\n```\nor rather\n```cpp\n{CODE}```\nGood luck!"), "kernel")
    assert text.code == CODE
    assert text.features == {"tiling", "unrolling"}
    assert not text.fault


def test_an_answer_of_nothing_but_code_is_code() -> None:
    assert read_answer(Answer(CODE), "kernel").code == CODE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(""), "is empty"),
        (Answer(" \n\t"), "is empty"),
        (Answer("I'm sorry, but I cannot help with that kernel."), "holds no code"),
        (Answer("```cpp\nvoid kernel(", "length"), "cut off after"),
        (Answer("```cpp\nvoid kernel("), "not closed"),
        (Answer("```cpp\n\n```"), "holds nothing"),
        (Answer(f"```cpp\n{CODE}```", "late"), "Time was up"),
        (Answer(f"```cpp\n{'x' * 300_000}\n```"), "may have 200000"),
    ],
)
def test_what_is_no_code_is_one_sentence_of_ours(answer: Answer, reason: str) -> None:
    text = read_answer(answer, "kernel")
    assert (text.code, text.features) == ("", frozenset())
    assert reason in text.fault
    assert "sorry" not in text.fault


@pytest.mark.parametrize(
    "line",
    [
        '#include "/etc/passwd"',
        "#include </etc/passwd>",
        "#include <../../home/me/.ssh/id_rsa>",
        "#include <kw/../../../secrets>",
        '#inc\\\nlude "/etc/passwd"',
        '/* */ #include "/etc/passwd"',
        "#define FILE </etc/passwd>\n#include FILE",
        '%:include "/etc/passwd"',
        '#line 1 "/etc/passwd"',
        '# 1 "/etc/passwd"',
        '#embed "/etc/passwd"',
        '#import "/etc/passwd"',
        '#include_next "/etc/passwd"',
        '#pragma GCC dependency "/etc/passwd"',
        '_Pragma("GCC dependency \\"/etc/passwd\\"")',
        'asm(".incbin \\"/etc/passwd\\"");',
        '__asm__(".include \\"/etc/passwd\\"");',
        "#define A(x, y) x##y\nA(as, m)(\".include\");",
        'import "/etc/passwd";',
        'int x; \r#include "/etc/passwd"',
    ],
)  # fmt: skip
def test_no_text_names_a_file_to_the_compiler(line: str) -> None:
    assert reaches_out(f"int a;\n{line}\nvoid kernel() {{}}\n")


@pytest.mark.parametrize(
    "line",
    [
        "#include <cmath>",
        "  #include <kw/vec.h>  // lanes",
        "#include <immintrin.h>",
        "#pragma omp parallel for schedule(static)",
        "#pragma GCC unroll 4",
        "#define SQUARE(x) ((x) * (x))",
        "#if defined(__AVX512F__)\nint y;\n#else\nint z;\n#endif",
        "int assembled = 1;  // asmuch as that",
    ],
)
def test_what_kernels_need_is_allowed(line: str) -> None:
    assert reaches_out(f"int a;\n{line}\nvoid kernel() {{}}\n") == ""
