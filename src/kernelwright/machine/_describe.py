"""What this machine is, as far as this process may use it. Needs neither torch nor a compiler."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from kernelwright.machine._compiler import find_compiler

_CPUS = Path("/sys/devices/system/cpu")
_CACHE_FALLBACK = {"l1d": 32 << 10, "l2": 1 << 20, "l3": 8 << 20}
_ARM_BITS = {"sve": 128, "asimd": 128, "neon": 128}
# flags that decide what code runs or how fast; the rest of /proc/cpuinfo is noise
_ISA = re.compile(
    r"sse4_[12]|avx\w*|fma4?|f16c|bmi[12]|amx_\w+|neon|asimd\w*|fp(hp)?|sve\w*|bf16|i8mm|sme\d?|rv\w*|vsx|altivec"
)


@dataclass(frozen=True)
class Machine:
    """A machine as this process sees it.

    ``cores``: physical cores usable by this process (affinity and cgroup quota); ``threads``: logical ones.
    Caches in bytes: ``l1d`` and ``l2`` of one core, ``l3`` of one cluster (0: none). ``simd_bits``: widest vector.
    ``isa``: the flags that decide what code runs. ``memory``: bytes usable (cgroup limit included).
    ``hugepages``: "always", "madvise", "never" or "". ``compiler``: its label or "".
    """

    cpu: str
    arch: str
    os: str
    cores: int
    threads: int
    l1d: int
    l2: int
    l3: int
    simd_bits: int
    isa: tuple[str, ...]
    memory: int
    hugepages: str
    compiler: str


def describe() -> Machine:
    """Describe the machine this process runs on. Raises :class:`CompilerMissing` only for a wrong KERNELWRIGHT_CXX."""
    compiler = find_compiler()
    cpu, flags = _cpu_model_and_flags()
    affinity = _affinity()
    arch = platform.machine().lower()
    return Machine(
        cpu=cpu,
        arch=arch,
        os=platform.system().lower(),
        cores=_usable_cores(affinity),
        threads=min(len(affinity), _quota() or len(affinity)),
        **_caches(affinity),
        simd_bits=_simd_bits(flags, arch),
        isa=tuple(sorted(f for f in flags if _ISA.fullmatch(f))),
        memory=_memory(),
        hugepages=_hugepages(),
        compiler=compiler.label if compiler else "",
    )


@functools.cache
def vector_registers() -> tuple[int, int]:
    """How many vector registers a core of this machine has, and their bytes."""
    arch = platform.machine().lower()
    size = max(_simd_bits(_cpu_model_and_flags()[1], arch), 128) // 8
    return (32 if size == 64 or arch in ("arm64", "aarch64") else 16), size


def fingerprint(machine: Machine) -> str:
    """A stable key of what decides a kernel's speed: CPU model, ISA, cores, OS and architecture; not clock or load."""
    content = json.dumps([machine.cpu, machine.isa, machine.cores, machine.os, machine.arch])
    return f"{machine.arch}-{machine.cores}c-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def versions() -> dict[str, str]:
    """Versions of what decides a measurement: python, torch, kernelwright, compiler, os."""
    compiler = find_compiler()
    return {
        "python": platform.python_version(),
        "torch": _version("torch"),
        "kernelwright": _version("kernelwright"),
        "compiler": compiler.label if compiler else "",
        "os": f"{platform.system()} {platform.release()}",
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def read(path: Path | str) -> str:
    """A small system file's text, "" when it is not there."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


@functools.cache
def _cpu_model_and_flags() -> tuple[str, frozenset[str]]:
    text = read("/proc/cpuinfo")
    fields = dict(re.findall(r"^([^\t:\n]+?)\s*:\s*(.*)$", text, flags=re.MULTILINE))
    flags = frozenset((fields.get("flags") or fields.get("Features") or fields.get("isa") or "").split())
    name = fields.get("model name") or fields.get("Hardware") or platform.processor() or platform.machine()
    numbers = [fields.get(k, "") for k in ("cpu family", "model", "CPU implementer", "CPU part")]
    detail = "/".join(n for n in numbers if n)  # cloud names hide the generation ("AMD EPYC"), these do not
    return " ".join(name.split()) + (f" [{detail}]" if detail else ""), flags


def _simd_bits(flags: frozenset[str], arch: str) -> int:
    if "avx512f" in flags:
        return 512
    if "avx" in flags or "avx2" in flags:
        return 256
    arm = [bits for flag, bits in _ARM_BITS.items() if flag in flags]
    return max(arm, default=128 if arch in ("x86_64", "amd64", "arm64", "aarch64") else 64)


def _affinity() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _usable_cores(affinity: list[int]) -> int:
    """Physical cores of the affinity mask, at most the cgroup's quota."""
    places = {(_topology(c, "physical_package_id"), _topology(c, "core_id")) for c in affinity}
    known = all(core for _, core in places)
    physical = len(places) if known else min(len(affinity), psutil.cpu_count(logical=False) or len(affinity))
    return max(1, min(physical, _quota() or physical))


def _topology(cpu: int, name: str) -> str:
    return read(_CPUS / f"cpu{cpu}" / "topology" / name)


def _quota() -> int:
    """CPUs that the cgroup grants, rounded up; 0 without a limit."""
    quota, _, period = read("/sys/fs/cgroup/cpu.max").partition(" ")
    if not quota:  # cgroup v1
        quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
        period = read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return 0
    return max(1, math.ceil(int(quota) / int(period)))


def _caches(affinity: list[int]) -> dict[str, int]:
    """Bytes of L1d, L2 and L3 from sysfs, else from the C library, else common sizes."""
    found: dict[str, int] = {}
    for index in sorted((_CPUS / f"cpu{affinity[0]}" / "cache").glob("index*")):
        level, kind = read(index / "level"), read(index / "type")
        key = "l1d" if level == "1" and kind == "Data" else f"l{level}" if kind == "Unified" else ""
        if key in _CACHE_FALLBACK:
            found[key] = _bytes(read(index / "size"))
    if found.get("l1d"):
        return {"l1d": found["l1d"], "l2": found.get("l2", 0), "l3": found.get("l3", 0)}
    return {key: _sysconf(key) or size for key, size in _CACHE_FALLBACK.items()}


def _sysconf(key: str) -> int:
    names = {"l1d": "SC_LEVEL1_DCACHE_SIZE", "l2": "SC_LEVEL2_CACHE_SIZE", "l3": "SC_LEVEL3_CACHE_SIZE"}
    try:
        return max(0, os.sysconf(names[key]))
    except (AttributeError, ValueError, OSError):
        return 0


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]] if match else 0


def _memory() -> int:
    limits = [read("/sys/fs/cgroup/memory.max"), read("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    return min([psutil.virtual_memory().total, *(int(x) for x in limits if x.isdigit())])


def _hugepages() -> str:
    match = re.search(r"\[(\w+)\]", read("/sys/kernel/mm/transparent_hugepage/enabled"))
    return match[1] if match else ""
