"""Reading GGUF files: what a file says of itself, and its tensors, without believing more of it than its bytes bear.

The file is mapped, not read. Every length is held against what is left of the file before anything is made of it, so a
truncated or lying file costs a sentence, never memory or a wrong value. Source: the GGUF specification, versions 2
and 3 (little endian).
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import GgufInvalid
from ._blocks import BLOCKS, PLAIN, Block
from ._tensor import QuantTensor

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9
_MOST_DIMENSIONS = 4
_LEAST_ENTRY = 12  # bytes that the shortest key with a value, and the shortest tensor's entry, take at least
_DEEPEST = 4  # arrays within arrays


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor lies and in which form. ``shape`` is PyTorch's order: the last axis lies together."""

    name: str
    shape: tuple[int, ...]
    form: str
    offset: int
    size: int


@dataclass(frozen=True)
class GgufFile:
    """An open GGUF file: ``metadata`` by key, ``tensors`` by name. Close it, or use it in a ``with`` statement."""

    path: Path
    version: int
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]
    _bytes: mmap.mmap = field(repr=False)

    def raw(self, name: str) -> torch.Tensor:
        """A tensor's bytes, copied: ``uint8``, one axis. Raises ``GgufInvalid`` for a name that is not there."""
        if name not in self.tensors:
            raise GgufInvalid(f"{self.path} has no tensor {name!r}; it has {len(self.tensors)} others.")
        about = self.tensors[name]
        return torch.from_numpy(
            np.frombuffer(self._bytes, np.uint8, count=about.size, offset=about.offset).copy()
        )  # a copy: a view would keep the mapping from being closed

    def dequantize(self, name: str) -> torch.Tensor:
        """A tensor as float32 of its own shape, whatever form it is stored in."""
        data, about = self.raw(name), self.tensors[name]
        if about.form in PLAIN:
            return data.view(PLAIN[about.form]).reshape(about.shape).float()
        return BLOCKS[about.form].dequantize(data).reshape(about.shape)

    def quantized(self, name: str) -> QuantTensor:
        """A matrix as :class:`QuantTensor`, exactly as stored: its codes, and its blocks' scales and offsets.

        Raises ``GgufInvalid`` for a tensor that is no matrix of blocks.
        """
        data, about = self.raw(name), self.tensors[name]
        if about.form not in BLOCKS or len(about.shape) != 2:
            raise GgufInvalid(f"{name} is {about.form} of shape {about.shape}; only matrices in blocks are quantised.")
        block = BLOCKS[about.form]
        codes, scale, offset = block.parts(data)
        rows, columns = about.shape
        scale = scale.reshape(rows, columns // block.group)
        offset = None if offset is None else offset.reshape(scale.shape)
        return QuantTensor.of_codes(codes.reshape(rows, columns), scale, offset, block.kind, block.group)

    def close(self) -> None:
        """Let go of the file."""
        self._bytes.close()

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_gguf(path: str | Path) -> GgufFile:
    """Map a GGUF file and read its table of contents.

    Raises ``GgufInvalid`` with the reason when the file is missing, no GGUF file of version 2 or 3, cut short, or
    describes tensors that overlap its end.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # an empty file cannot be mapped: ValueError
        raise GgufInvalid(f"{path} cannot be read as a GGUF file: {error}.") from error
    try:
        return _read(path, mapped)
    except BaseException:
        mapped.close()
        raise


def _read(path: Path, data: mmap.mmap) -> GgufFile:
    cursor = _Cursor(path, data)
    if cursor.take(4) != _MAGIC:
        raise GgufInvalid(f"{path} does not begin with the letters GGUF, so it is no GGUF file.")
    version = cursor.number("I")
    if version not in _VERSIONS:
        raise GgufInvalid(f"{path} is a GGUF file of version {version}; versions 2 and 3, little endian, are read.")
    tensor_count, key_count = cursor.number("Q"), cursor.number("Q")
    cursor.expect(tensor_count + key_count, _LEAST_ENTRY, "entries")
    metadata: dict[str, Any] = {}
    for _ in range(key_count):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.number("I"))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise GgufInvalid(f"{path} says that its alignment is {alignment!r}; it must be a power of two.")
    entries = [_entry(cursor) for _ in range(tensor_count)]
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, GgufTensor] = {}
    for name, shape, form, offset in entries:
        tensors[name] = _placed(path, name, shape, form, start + offset, len(data))
    if len(tensors) != tensor_count:
        raise GgufInvalid(f"{path} names a tensor twice.")
    return GgufFile(path, version, metadata, tensors, data)


def _entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.text()
    dimensions = cursor.number("I")
    if dimensions > _MOST_DIMENSIONS:
        raise GgufInvalid(
            f"{cursor.path} gives tensor {name!r} {dimensions} dimensions; {_MOST_DIMENSIONS} is the most."
        )
    shape = tuple(cursor.number("Q") for _ in range(dimensions))[::-1]  # the file names the innermost axis first
    return name, shape, cursor.number("I"), cursor.number("Q")


def _placed(path: Path, name: str, shape: tuple[int, ...], code: int, offset: int, end: int) -> GgufTensor:
    form = _FORMS.get(code)
    if form is None:
        raise GgufInvalid(f"{path} stores tensor {name!r} in form number {code}, which is not one of those read here.")
    block: Block | None = BLOCKS.get(form)
    width = block.weights if block is not None else 1
    if 0 in shape:
        raise GgufInvalid(f"{path} gives tensor {name!r} the shape {shape}, which holds nothing.")
    row = shape[-1] if shape else 1
    if row % width:
        raise GgufInvalid(f"{path} gives tensor {name!r} rows of {row}, which are no whole blocks of {width}.")
    size = math.prod(shape) // width * (block.bytes if block is not None else PLAIN[form].itemsize)
    if offset + size > end:
        raise GgufInvalid(f"{path} ends at byte {end}, but tensor {name!r} lies at {offset} and takes {size} bytes.")
    return GgufTensor(name, shape, form, offset, size)


_FORMS = {
    **{0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"},
    **{2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K"},
}


class _Cursor:
    """Reads forward, and never past the end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def expect(self, count: int, size: int, what: str) -> None:
        if count * size > len(self.data) - self.at:
            raise GgufInvalid(f"{self.path} promises {count} {what} at byte {self.at}, but ends at {len(self.data)}.")

    def take(self, count: int) -> bytes:
        self.expect(count, 1, "bytes")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self) -> str:
        raw = self.take(self.number("Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise GgufInvalid(f"{self.path} holds a string before byte {self.at} that is no UTF-8: {error}.") from error

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _BOOL:
            return bool(self.number("B"))
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY and depth < _DEEPEST:
            return self.array(depth)
        raise GgufInvalid(f"{self.path} holds a value of kind {kind} at byte {self.at}; kinds 0 to 12 are known.")

    def array(self, depth: int) -> list[Any]:
        kind, count = self.number("I"), self.number("Q")
        if kind in _SCALARS:
            size = struct.calcsize("<" + _SCALARS[kind])
            self.expect(count, size, "numbers")
            return list(struct.unpack(f"<{count}{_SCALARS[kind]}", self.take(count * size)))
        self.expect(count, 8 if kind == _STRING else 12 if kind == _ARRAY else 1, "values")
        return [self.value(kind, depth + 1) for _ in range(count)]
