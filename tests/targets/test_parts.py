"""A long source is compiled in parts: the same library, and a change costs only the part it is in."""

from __future__ import annotations

import ctypes
import subprocess
import time
from pathlib import Path

import pytest

from kernelwright.errors import BuildFailed
from kernelwright.targets.cpu import ENTRIES_MARK, KERNEL_MARK, build
from kernelwright.targets.cpu import _build as module
from kernelwright.targets.cpu._parts import split

HEAD = "#include <kw/abi.h>\n\n"
COUNT = 13


def kernel(number: int, factor: int) -> str:
    helper = f"static double twice{number}(double x) {{\n  return 2 * x;\n}}\n"
    body = f"  for (int i = 0; i < 4; ++i) x[i] += twice{number}({factor});"
    return f"{KERNEL_MARK}\n{helper}static void k{number}(double* KW_RESTRICT x) {{\n{body}\n}}\n\n"


def program(factors: list[int]) -> str:
    kernels = [kernel(number, factor) for number, factor in enumerate(factors)]
    calls = "\n".join(f"  k{number}(x);" for number in range(len(factors)))
    entry = f'{ENTRIES_MARK}\nextern "C" KW_EXPORT void run(double* x) {{\n{calls}\n}}\n'
    return HEAD + "".join(kernels) + entry


def result(library: Path) -> list[float]:
    values = (ctypes.c_double * 4)(0, 1, 2, 3)
    ctypes.CDLL(str(library)).run(values)
    return list(values)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))


def test_a_short_source_is_its_own_only_part() -> None:
    assert split(program([1, 2])) == (program([1, 2]),)
    assert split(HEAD) == (HEAD,)


def test_each_kernel_is_in_one_part_and_the_callers_know_them_all() -> None:
    *parts, callers = split(program(list(range(COUNT))))
    assert len(parts) > 2
    assert all(part.startswith(HEAD) for part in (*parts, callers))
    text = "".join(parts)
    for number in range(COUNT):
        assert text.count(f"void k{number}(double* KW_RESTRICT x) {{") == 1
        assert f"void k{number}(double* KW_RESTRICT x);" in callers
    assert "static double twice3" in text


def test_parts_make_the_library_that_the_whole_makes() -> None:
    whole = program(list(range(COUNT))).replace(KERNEL_MARK, "//")
    assert len(split(whole)) == 1
    want = [i + 2.0 * sum(range(COUNT)) for i in range(4)]
    assert result(build(program(list(range(COUNT)))).library) == result(build(whole).library) == want


def test_a_change_costs_the_part_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    run = module._run

    def watch(compiler: object, arguments: list[str], folder: Path, end: float) -> None:
        compiled.append(arguments[0])
        run(compiler, arguments, folder, end)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_run", watch)
    factors = list(range(COUNT))
    build(program(factors))
    assert compiled.count("-c") == len(split(program(factors)))
    compiled.clear()
    factors[5] = 100
    library = build(program(factors)).library
    assert sorted(compiled) == ["-c", "-shared"]
    assert result(library)[0] == 2.0 * sum(factors)


def test_a_damaged_part_is_compiled_again(tmp_path: Path) -> None:
    build(program(list(range(COUNT))))
    for made in tmp_path.rglob("*.o"):
        made.write_bytes(b"damage")
    assert result(build(program([7, *range(1, COUNT)])).library)[0] == 2.0 * (7 + sum(range(COUNT)))


def test_a_fault_in_one_part_is_told() -> None:
    source = program(list(range(COUNT))).replace("twice3(3)", "thrice(3)")
    with pytest.raises(BuildFailed, match="thrice"):
        build(source)


def test_what_overruns_ends_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def slow(command: list[str], **options: object) -> subprocess.Popen[str]:
        process = popen(["sh", "-c", "sleep 60 & wait"], **options)  # type: ignore[call-overload]
        started.append(process)
        return process

    compiler = module.find_compiler()
    monkeypatch.setattr(subprocess, "Popen", slow)
    assert compiler is not None
    with pytest.raises(BuildFailed, match="did not finish"):
        module._run(compiler, ["-c"], Path("/tmp"), time.monotonic() + 0.3)
    assert started[0].poll() is not None
    states = ["ps", "-o", "stat=", "-g", str(started[0].pid)]
    left = popen(states, stdout=subprocess.PIPE, text=True).communicate()[0].split()
    assert all(state.startswith("Z") for state in left)  # dead, and nobody has asked how it ended
