"""What the machine says about itself, where compilers are looked for, and that peaks are measured once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kernelwright import machine
from kernelwright.errors import CompilerMissing
from kernelwright.machine import Compiler, _compiler, _describe, _peaks


def test_describe_is_plausible() -> None:
    here = machine.describe()
    assert 1 <= here.cores <= here.threads <= (os.cpu_count() or 1)
    assert 4 << 10 <= here.l1d <= here.l2 or here.l2 == 0
    assert here.simd_bits in (64, 128, 256, 512)
    assert here.memory > 64 << 20
    assert here.cpu
    assert here.arch
    assert here.os == sys.platform


def test_describing_needs_no_torch() -> None:
    code = "import sys; from kernelwright import machine; machine.describe(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_fingerprint_follows_what_decides_speed_only() -> None:
    here = machine.describe()
    key = machine.fingerprint(here)
    assert key == machine.fingerprint(replace(here, memory=1, hugepages="never", compiler="other 1.0"))
    for change in ({"cpu": "Another CPU"}, {"isa": ("none",)}, {"cores": 99}, {"arch": "riscv64"}, {"os": "plan9"}):
        assert key != machine.fingerprint(replace(here, **change))


def test_quota_limits_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/sys/fs/cgroup/cpu.max": "150000 100000"}
    monkeypatch.setattr(_describe, "read", lambda path: files.get(str(path), ""))
    assert _describe._quota() == 2
    files["/sys/fs/cgroup/cpu.max"] = "max 100000"
    assert _describe._quota() == 0
    files["/sys/fs/cgroup/cpu.max"] = ""
    assert _describe._quota() == 0
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"], files["/sys/fs/cgroup/cpu/cpu.cfs_period_us"] = "100000", "100000"
    assert _describe._usable_cores([0, 1, 2, 3]) == 1


def test_two_threads_of_a_core_are_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_describe, "_quota", lambda: 0)
    monkeypatch.setattr(_describe, "_topology", lambda cpu, name: "0" if name != "core_id" else str(cpu // 2))
    assert _describe._usable_cores([0, 1, 2, 3]) == 2


def test_caches_without_sysfs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_describe, "_CPUS", tmp_path)
    found = _describe._caches([0])
    assert set(found) == {"l1d", "l2", "l3"}
    assert found["l1d"] > 0


def fake_compiler(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_compilers_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_compiler.OVERRIDE, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    fake_compiler(tmp_path, "clang++", "Debian clang version 17.0.6 (3)")
    monkeypatch.setattr(_compiler.shutil, "which", lambda name, path: found(tmp_path / name))
    _compiler._find.cache_clear()
    assert machine.find_compiler() == Compiler(
        (str(tmp_path / "clang++"),), "clang", "17.0.6", "Debian clang version 17.0.6 (3)"
    )
    fake_compiler(tmp_path, "g++", "g++ (Debian 12.2.0-14) 13.1.0")
    _compiler._find.cache_clear()
    gcc = machine.find_compiler()
    _compiler._find.cache_clear()
    assert gcc is not None
    assert (gcc.kind, gcc.version, gcc.label) == ("gcc", "13.1.0", "gcc 13.1.0")


def found(path: Path) -> str | None:
    return str(path) if path.exists() else None


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_compiler.OVERRIDE, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(_compiler.importlib.util, "find_spec", lambda name: None)
    assert machine.find_compiler() is None
    assert machine.versions()["compiler"] == ""


def test_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = fake_compiler(tmp_path, "mine", "g++ 99.1")
    monkeypatch.setenv(_compiler.OVERRIDE, f"{mine} --flag")
    chosen = machine.find_compiler()
    assert chosen is not None
    assert (chosen.argv, chosen.version) == ((str(mine), "--flag"), "99.1")
    monkeypatch.setenv(_compiler.OVERRIDE, "/no/such/c++")
    with pytest.raises(CompilerMissing, match="KERNELWRIGHT_CXX is '/no/such/c\\+\\+', which does not run"):
        machine.find_compiler()


def test_versions() -> None:
    assert set(machine.versions()) == {"python", "torch", "kernelwright", "compiler", "os"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
    _peaks._KNOWN.clear()
    return tmp_path


def test_peaks_are_measured_and_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_peaks, "_load_per_core", lambda machine: 0.0)
    if machine.find_compiler() is None:
        pytest.skip("no compiler on this machine")
    first = machine.peaks()
    assert first.fp32_core > first.fp64_core * 0.5 > 0
    assert first.bf16 >= first.fp32 >= first.fp32_core > 1e8
    assert first.copy > 0.1
    assert first.read > 0.1
    assert first.l1 > first.read / 4
    assert first.flops("bfloat16") == first.bf16
    assert first.flops("float16") == first.fp32
    (stored,) = (home / "cache" / "peaks").iterdir()
    _peaks._KNOWN.clear()
    assert machine.peaks() == first
    stored.write_text("{damaged")
    _peaks._KNOWN.clear()
    assert machine.peaks().source == first.source
    assert stored.read_text().startswith('{"copy"')


def test_peaks_of_a_busy_machine_are_measured_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([3.0, 5.0, 4.0])
    loads = iter([2.0, 2.0, 0.0])
    monkeypatch.setattr(_peaks, "_measure", lambda machine, compiler: _given(next(rates), machine.cores))
    monkeypatch.setattr(_peaks, "_load_per_core", lambda machine: next(loads))
    seen = []
    for _ in range(4):  # as four processes would
        _peaks._KNOWN.clear()
        found = machine.peaks()
        seen.append((found.copy, found.busy, found.runs))
    assert seen == [(3.0, True, 1), (5.0, True, 2), (5.0, False, 3), (5.0, False, 3)]


def test_peaks_of_cores_that_did_not_work_together_are_measured_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(machine.describe(), cores=4)
    measured = iter([_given(1.0, 1), _given(1.0, 4)])
    monkeypatch.setattr(_peaks, "_load_per_core", lambda machine: 0.0)
    monkeypatch.setattr(_peaks, "_measure", lambda machine, compiler: next(measured))
    assert _peaks._peaks(here, False).busy
    _peaks._KNOWN.clear()
    found = _peaks._peaks(here, False)
    assert (found.busy, found.fp32, found.runs) == (False, 4.0, 2)


def _given(rate: float, together: int) -> machine.Peaks:
    return _peaks.Peaks(*[rate] * 8, *[rate * together] * 3, source="given")


def test_peaks_without_a_compiler(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_peaks, "find_compiler", lambda: None)
    measured = machine.peaks()
    assert measured.source == "torch.matmul"
    assert measured.fp32 > 0
    assert measured.copy > 0


def test_peaks_with_an_unwritable_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _given(1.0, machine.describe().cores)
    (home / "cache").write_text("a file where the folder should be")
    measured = iter([made])
    monkeypatch.setattr(_peaks, "_load_per_core", lambda machine: 0.0)
    monkeypatch.setattr(_peaks, "_measure", lambda machine, compiler: next(measured))
    assert machine.peaks() == made
    assert machine.peaks() == made  # not measured a second time
