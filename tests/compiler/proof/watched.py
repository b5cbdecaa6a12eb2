"""Memory whose every neighbour is watched: a process of its own runs functions on it, and dies of a stray access.

``python watched.py LIBRARY`` reads JSON lines {"name", "function", "buffers": [{"low", "high", "width", "values"}],
"integers"} and answers each with the elements that were written to each buffer, as JSON. A buffer's elements
[low, high] lie first at the end of their pages, then at the begin; the pages around them do not exist.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import sys
from typing import Any

PAGE = mmap.PAGESIZE
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def watched(size: int, at_end: bool) -> int:
    """The address of ``size`` bytes that begin or end with their pages."""
    pages = -(-max(size, 1) // PAGE)
    start = _LIBC.mmap(None, (pages + 2) * PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert start not in (None, ctypes.c_void_p(-1).value)
    assert _LIBC.mprotect(start + PAGE, pages * PAGE, 3) == 0
    return int(start + PAGE + (pages * PAGE - size if at_end else 0))


def run(library: ctypes.CDLL, case: dict[str, Any], at_end: bool) -> list[list[int]]:
    places = []
    for buffer in case["buffers"]:
        count, width = buffer["high"] - buffer["low"] + 1, buffer["width"]
        address = watched(count * width, at_end)
        if buffer["values"] is not None:
            ctypes.memmove(address, (ctypes.c_int64 * count)(*buffer["values"]), count * width)
        else:
            ctypes.memset(address, 0x11 * (len(places) + 1), count * width)
        places.append((address, count * width, width, buffer["low"]))
    pointers = (ctypes.c_void_p * len(places))(*(a - low * w for a, _, w, low in places))
    before = [ctypes.string_at(a, n) for a, n, _, _ in places]
    integers = case["integers"]
    getattr(library, case["function"])(pointers, (ctypes.c_int64 * max(1, len(integers)))(*integers))
    after = [ctypes.string_at(a, n) for a, n, _, _ in places]
    return [
        [low + i for i in range(n // w) if old[i * w : i * w + w] != new[i * w : i * w + w]]
        for (_, n, w, low), old, new in zip(places, before, after, strict=True)
    ]


def main() -> None:
    library = ctypes.CDLL(sys.argv[1])
    for line in sys.stdin:
        case = json.loads(line)
        sys.stdout.write(f"{case['name']}\n")
        sys.stdout.flush()
        first, second = run(library, case, True), run(library, case, False)
        sys.stdout.write(json.dumps(first if first == second else ["placements differ", first, second]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
