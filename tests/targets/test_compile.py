"""Running a compiler: what is no fault of the source is never called one, and nothing outlives whoever started it."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kernelwright.errors import BuildFailed, CacheUnusable
from kernelwright.machine import find_compiler
from kernelwright.scratch import scratch_folder, sweep
from kernelwright.targets.cpu import build
from kernelwright.targets.cpu._compile import run_compiler

SOURCE = 'extern "C" int answer() { return 42; }'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path / "home"))
    return tmp_path


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def run(command: str, folder: Path, seconds: float = 10.0) -> None:
    run_compiler([str(script(folder / "compiler", command))], folder, time.monotonic() + seconds)


def test_a_compiler_that_somebody_kills_starts_again(tmp_path: Path) -> None:
    run("test -e once && exit 0; touch once; kill -9 $$", tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    says = "echo 'g++: fatal error: Killed signal terminated program cc1plus' >&2"
    run(f"test -e once && exit 0; touch once; {says}; exit 1", other)


def test_one_that_is_always_killed_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="killed 3 times"):
        run("kill -9 $$", tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_no_fault_of_the_source(number: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        run(f"echo '/usr/bin/ld: final link failed: {os.strerror(number)}' >&2; exit 1", tmp_path)
    assert caught.value.errno == number


@pytest.mark.parametrize("words", ["No space left on device", "Killed signal terminated program cc1plus"])
def test_a_source_cannot_talk_its_way_out(words: str) -> None:
    with pytest.raises(BuildFailed, match="rejected the source"):
        build(f"#error {words}\n")


def test_a_full_disk_is_a_sentence_about_the_disk() -> None:
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (256, 256))\n"
        "from kernelwright.targets.cpu import build\n"
        f"build({SOURCE!r})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert CacheUnusable.__name__ in ended.stderr.splitlines()[-1]
    assert "cannot be written" in ended.stderr


def test_scratch_folders_of_the_dead_are_removed_and_those_of_the_living_stay(home: Path) -> None:
    code = (
        "import time\nfrom kernelwright.scratch import scratch_folder\n"
        "with scratch_folder() as folder:\n    print(folder, flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    left = Path(other.stdout.readline().strip())
    with scratch_folder() as mine:
        assert left.is_dir()
        other.kill()
        other.communicate()
        sweep()
        assert not left.exists()
        assert mine.is_dir()
    assert not mine.exists()


def test_a_compiler_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    slow = script(
        tmp_path / "slow", 'test "$1" = --version && exec g++ --version\necho $$ > "$NUMBER"\nsleep 60 & wait'
    )
    known = {**os.environ, "KERNELWRIGHT_CXX": str(slow), "NUMBER": str(tmp_path / "number")}
    if (found := find_compiler()) is None or found.kind != "gcc":
        pytest.skip("g++ says the version here")
    code = f"from kernelwright.targets.cpu import build\nbuild({SOURCE!r})"
    judge = subprocess.Popen([sys.executable, "-c", code], env=known)
    while not (tmp_path / "number").exists() or not (tmp_path / "number").read_text():
        time.sleep(0.01)
    compiler = psutil.Process(int((tmp_path / "number").read_text()))
    time.sleep(0.1)
    family = [compiler, *compiler.children()]
    judge.send_signal(signal.SIGKILL)
    judge.wait()
    assert not psutil.wait_procs(family, timeout=10.0)[1]
