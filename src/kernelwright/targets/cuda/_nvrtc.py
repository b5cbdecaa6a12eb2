"""NVRTC as a command: ``python _nvrtc.py LIBRARY SOURCE CUBIN OPTION...``; says what the compiler says.

A process of its own, because a compiler that dies must not take anybody along; it imports nothing but the standard
library, so that it starts in no time.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def compile_file(library: Path, source: Path, cubin: Path, options: list[str]) -> int:
    """Compile ``source`` into ``cubin``; the exit code of the command."""
    for part in sorted(library.parent.glob("libnvrtc-builtins.so*")):  # which NVRTC would look for where it is not
        ctypes.CDLL(str(part), mode=ctypes.RTLD_GLOBAL)
    nvrtc = ctypes.CDLL(str(library))
    program = ctypes.c_void_p()
    text, name = source.read_bytes(), source.name.encode()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, name, 0, None, None):
        print("error: NVRTC does not start", file=sys.stderr)
        return 1
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    code = nvrtc.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    print(log.value.decode(errors="replace"), end="", file=sys.stderr)
    if code:
        return 1
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    made = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, made)
    cubin.write_bytes(made.raw)
    return 0


if __name__ == "__main__":
    sys.exit(compile_file(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
