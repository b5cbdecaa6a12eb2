"""Static rules for shared objects: the symbols that one imports, and what it is linked with."""

from __future__ import annotations

import io

from ..errors import SubmissionInvalid
from ..targets import decode
from . import _findings as f
from ._findings import Findings
from ._rules_cpp import FUNCTIONS

_SURE = (f.PROCESSES, f.NETWORK, f.SYSCALLS)  # files are opened by what a compiler links in, too


def read_binary(source: str, found: Findings) -> None:
    """Add what a shared object imports."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

    try:
        # By its segments, as the loader reads it; the sections may say something else.
        for segment in ELFFile(io.BytesIO(decode(source))).iter_segments("PT_DYNAMIC"):
            assert isinstance(segment, DynamicSegment)
            _linked([str(vars(tag).get("needed", "")) for tag in segment.iter_tags("DT_NEEDED")], found)
            undefined = [s for s in segment.iter_symbols() if s["st_shndx"] == "SHN_UNDEF"]
            _imported([str(s.name) for s in undefined if s.name], found)
    except (ELFError, SubmissionInvalid, AssertionError, ValueError, KeyError, TypeError, OSError, RecursionError):
        return  # the loader will say what is wrong with it


def _linked(libraries: list[str], found: Findings) -> None:
    for name in libraries:
        if name.startswith(("libtorch", "libc10", "libmkl", "libdnnl", "libopenblas", "libblas")):
            found.add(f.LIBRARY, f"linked with {name}")
        elif name.startswith("libgomp"):
            found.add(f.OPENMP, f"linked with {name}")
        elif name.startswith(("libcuda", "libcublas")):
            found.add(f.GPU, f"linked with {name}")


def _imported(symbols: list[str], found: Findings) -> None:
    for symbol in symbols:
        name = symbol.partition("@")[0]
        rule = FUNCTIONS.get(name)
        if rule is not None:
            found.add(rule[0], f"it imports {name}", forbidden=rule[1] and rule[0] in _SURE)
        elif name.startswith(("_ZN2at", "_ZN5torch")):
            found.add(f.LIBRARY, "it imports at::")
        elif name.startswith("_ZNSt6chrono"):
            found.add(f.CLOCK, "it imports std::chrono")
        elif name.startswith("_ZNSt6thread"):
            found.add(f.THREADS, "it imports std::thread")
