"""Weight-only quantised matrices: number types of 1 to 8 bits, their packing, quantisers and file formats."""

from __future__ import annotations

from ._binary import binary_code
from ._checkpoints import from_affine, from_awq, from_gptq, to_awq, to_gptq
from ._gguf import GgufFile, GgufTensor, open_gguf
from ._pack import pack, packed_size, unpack
from ._quantise import gptq, half_quadratic, round_to_nearest
from ._sparse import compress, expand, two_of_four
from ._tensor import BinaryTensor, QuantTensor, to_binary
from ._types import LowBitType, all_types, dt

__all__ = [
    "BinaryTensor",
    "GgufFile",
    "GgufTensor",
    "LowBitType",
    "QuantTensor",
    "all_types",
    "binary_code",
    "compress",
    "dt",
    "expand",
    "from_affine",
    "from_awq",
    "from_gptq",
    "gptq",
    "half_quadratic",
    "open_gguf",
    "pack",
    "packed_size",
    "round_to_nearest",
    "to_awq",
    "to_binary",
    "to_gptq",
    "two_of_four",
    "unpack",
]
