"""Importing the package is cheap: whoever only asks for the version or lists the archive does not wait for torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "sympy", "scipy", "tvm_ffi")


def _loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import kernelwright", "import kernelwright; kernelwright.__version__"])
def test_importing_the_package_loads_nothing_heavy(statement: str) -> None:
    assert _loaded_after(statement) == set()


def test_the_archive_is_reached_without_torch() -> None:
    assert _loaded_after("import kernelwright; kernelwright.Archive") == set()


def test_the_probe_sees_what_is_loaded() -> None:
    assert "torch" in _loaded_after("import kernelwright; kernelwright.Task")


def test_every_public_name_exists() -> None:
    code = "import kernelwright\nfor name in kernelwright.__all__: getattr(kernelwright, name)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
